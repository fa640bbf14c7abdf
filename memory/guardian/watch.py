"""The guardian's loop: start the program, look at its tree, act on the policy, leave nobody behind, report.

Reports are JSON lines on the status pipe. One byte on the lifeline asks for an end ("T" with grace, "K" at
once); its end of file means that the supervisor has died, and then everything below this process dies.
"""

# pathlib would double the guardian's start-up time
# ruff: noqa: PTH106

import contextlib
import json
import math
import os
import resource
import select
import signal
import sys
import time
from typing import Any, NoReturn

from memory.guardian import kernel, killing, target
from memory.guardian.config import Config
from memory.guardian.meter import Meter, Usage
from memory.policy import Action, TreeLimits, fill_rate, next_look, tree_action
from memory.probes.tree import tree_for

MAX_MEMBERS_REPORTED = 100  # keeps a report below PIPE_BUF, so that it is written whole or not at all
MOST_REAPED = 1000  # at a time: a tree can end children faster than they are collected
UNKILLABLE_SECONDS = 20.0  # a process stuck in the kernel doesn't die; its supervisor must not wait for ever


class Watch:
    """One supervised tree from start to end."""

    def __init__(self, config: Config, argv: list[str]) -> None:
        self.config, self.argv = config, argv
        self.limits = TreeLimits(config.memory_bytes, config.warn_fraction, config.kill_fraction)
        self.tree = tree_for(config.reader)
        self.rate = fill_rate(os.cpu_count() or 1)
        self.root = os.getpid()
        self.started_at = time.monotonic()
        self.meter = Meter(self.tree, self.root, self.limits)
        self.next_report = self.interval = 0.0
        self.cause = ""
        self.used_at_end = 0
        self.kill_at: float | None = None
        self.warned = False
        self.target_pid = 0
        self.exit_status: int | None = None
        self.is_subreaper = False
        self.orphaned = False
        self.ending = False

    # --- life

    def run(self) -> None:
        layers = self._prepare()
        child = target.start(self.argv, self.config)
        self.target_pid = child.pid
        if child.error:
            os.waitpid(child.pid, 0)
            self._report({"failed": child.error})
            return
        self._report({"started": child.pid, "layers": [*layers, *child.layers]})
        while self.exit_status is None and not self.orphaned and not self._gave_up():
            self._tick()
        self._finish()

    def _gave_up(self) -> bool:
        return self.kill_at is not None and time.monotonic() > self.kill_at + UNKILLABLE_SECONDS

    def _prepare(self) -> list[str]:
        layers = ["supervisor", "own_session", "lifeline"]
        self.is_subreaper = kernel.become_subreaper()
        if self.is_subreaper:
            layers.append("subreaper")
        kernel.signal_on_parent_death(signal.SIGTERM)
        self._handle_signals()
        if os.getppid() != self.config.supervisor:
            sys.exit(1)
        return layers

    def _handle_signals(self) -> None:
        self.wakeup, wakeup_end = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _on_sigterm(self, *_: object) -> None:
        """From the kernel when the supervisor's thread has died, or from whoever stops the whole service."""
        self.ending = True

    def _tick(self) -> None:
        self._wait()
        self._reap()
        if self.exit_status is None and not self.orphaned:
            self._look()
            self._enforce_time()

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self.config.lifeline, select.POLLIN)
        waiting.register(self.wakeup, select.POLLIN)
        for fd, _event in waiting.poll(max(1, round(self.interval * 1000))):
            if fd == self.wakeup:
                os.read(self.wakeup, 512)
            else:
                self._obey(os.read(self.config.lifeline, 64))
        if os.getppid() != self.config.supervisor:
            self.orphaned = True
        elif self.ending:
            self._kill("killed_outside")

    def _obey(self, command: bytes) -> None:
        if not command:
            self.orphaned = True
        elif b"K" in command:
            self._kill("requested")
        else:
            self._terminate("requested")

    def _reap(self) -> bool:
        """Collect ended children: the target, and the orphans that became ours. True when there is no child left,
        which for a subreaper means no descendant."""
        for _ in range(MOST_REAPED):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.target_pid:
                self.exit_status = status
        return False

    # --- looking and acting

    def _look(self) -> None:
        now = time.monotonic()
        usage = self.meter.look(now)
        self._act(usage)
        self._report_sample(usage, now)
        self.interval = next_look(
            usage.used,
            self.limits.memory_bytes,
            poll_seconds=self.config.poll_seconds,
            rate=self.rate,
            cost=self.meter.cost,
        )

    def _act(self, usage: Usage) -> None:
        action = tree_action(usage.used, self.limits)
        if action >= Action.WARN and not self.warned:
            self.warned = True
            self._report({"warned": usage.used})
        if action is Action.KILL:
            self._kill("memory_limit", usage.used)
        elif action is Action.TERMINATE:
            self._terminate("memory_limit", usage.used)

    def _enforce_time(self) -> None:
        now = time.monotonic()
        wall = self.config.wall_seconds
        if wall is not None and now - self.started_at > wall:
            self._terminate("timed_out")
        if self.kill_at is not None and now >= self.kill_at:
            self._kill(self.cause)

    def _terminate(self, cause: str, used: int = 0) -> None:
        """Ask every member to end; those that don't are killed after the grace period."""
        if self.kill_at is None:
            self._set_cause(cause, used)
            self.kill_at = time.monotonic() + self.config.grace_seconds
            self._signal_all(signal.SIGTERM)

    def _kill(self, cause: str, used: int = 0) -> None:
        self._set_cause(cause, used)
        self.kill_at = min(time.monotonic(), self.kill_at or math.inf)
        self._signal_all(signal.SIGKILL)

    def _set_cause(self, cause: str, used: int) -> None:
        if not self.cause:
            self.cause, self.used_at_end = cause, used

    def _signal_all(self, number: int) -> None:
        cgroup = self.config.cgroup
        if number == signal.SIGKILL and cgroup:
            kernel.kill_cgroup(cgroup)
        known = dict(self.meter.members)
        killing.signal_each(self.tree, known, number)
        everyone = killing.members(self.tree, self.root, thorough=True)
        killing.signal_each(self.tree, dict(everyone.items() - known.items()), number)
        if number == signal.SIGKILL:
            killing.kill_groups(self.tree, self.root)

    # --- end and reports

    def _finish(self) -> None:
        left = killing.end_all(self.tree, self.root, childless=self._reap if self.is_subreaper else None)
        self._reap()
        if self.orphaned:
            self._remove_cgroup()
        else:
            self._report(self._end_report(left), must_arrive=True)

    def _remove_cgroup(self) -> None:
        """The supervisor's task, which it can no longer do."""
        with contextlib.suppress(OSError):
            os.rmdir(self.config.cgroup or "")

    def _end_report(self, left: dict[int, float]) -> dict[str, Any]:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        unit = 1024 if sys.platform.startswith("linux") else 1
        return {
            "ended": self.cause,
            "status": self.exit_status,
            "used": self.used_at_end,
            "peak": max(self.meter.peak, spent.ru_maxrss * unit),
            "peak_data": self.meter.peak_data,
            "cpu_seconds": spent.ru_utime + spent.ru_stime,
            "wall_seconds": time.monotonic() - self.started_at,
            "left": sorted(left),
        }

    def _report_sample(self, usage: Usage, now: float) -> None:
        if now < self.next_report:
            return
        self.next_report = now + self.config.poll_seconds
        listed = list(self.meter.members.items())[:MAX_MEMBERS_REPORTED]
        sample = {"rss": usage.rss, "pss": usage.pss, "processes": usage.processes, "peak": self.meter.peak, "at": now}
        self._report({"sample": sample, "members": listed})

    def _report(self, report: dict[str, Any], *, must_arrive: bool = False) -> None:
        """A reader that is busy must not hold up enforcement, so all but the last report may be dropped."""
        os.set_blocking(self.config.status, must_arrive)
        try:
            os.write(self.config.status, (json.dumps(report) + "\n").encode())
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.orphaned = True


def main(config_json: str, argv: list[str]) -> NoReturn:
    config = Config.from_json(config_json)
    for fd in (config.lifeline, config.status):
        os.set_inheritable(fd, False)
    Watch(config, argv).run()
    sys.exit(0)
