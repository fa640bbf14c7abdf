"""One supervised run: starts the guardian, relays lines and samples, asks for an end, collects the evidence.

Enforcement is the guardian's, so a callback that blocks holds nothing up. Owns the pipes of one run and closes
them; decides nothing about what an end means (see `classify`).
"""

import contextlib
import dataclasses
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from memory.guardian import killing
from memory.guardian.config import Config
from memory.probes.tree import tree_for
from memory.processes.classify import Evidence
from memory.processes.contract import EndReason, OperationLimits, TreeSample
from memory.processes.lines import LineSplitter, Tail

logger = logging.getLogger(__name__)

GUARDIAN = Path(__file__).resolve().parent.parent / "guardian" / "__main__.py"
READ_BYTES = 64 * 1024
DRAIN_SECONDS = 2.0  # for what is still in the pipes once the tree is gone
GUARDIAN_SECONDS = 12.0  # it gives up on members that can't be ended after ten
ASK_SECONDS = 0.1  # between two calls of should_stop


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """What the caller wants to hear of, and its say in going on."""

    on_line: Callable[[str], None] | None = None
    on_sample: Callable[[TreeSample], None] | None = None
    on_warning: Callable[[int], None] | None = None
    should_stop: Callable[[], EndReason | None] | None = None


class Operation:
    """A context manager: leaving it, by whatever way, leaves no process and no descriptor."""

    def __init__(self, argv: Sequence[str], limits: OperationLimits, config: Config, callbacks: Callbacks) -> None:
        self.argv, self.limits, self.config, self.callbacks = list(argv), limits, config, callbacks
        self.evidence = Evidence(limits)
        self.layers: tuple[str, ...] = ()
        self.cpu_seconds = 0.0
        self._reports, self._lines, self._stderr = LineSplitter(), LineSplitter(), Tail()
        self._members: dict[int, float] = {}
        self._requested: EndReason | None = None
        self._ended = False
        self._silent = True
        self._open = contextlib.ExitStack()
        self._selector = self._open.enter_context(selectors.DefaultSelector())
        self._started_at = self._heard_at = time.monotonic()
        self._ask_at = 0.0

    # --- start and end

    def start(self, cwd: str | os.PathLike[str] | None, env: Mapping[str, str] | None) -> None:
        """Start the guardian, which starts the program. Raises OSError when the guardian can't be started."""
        lifeline, self._lifeline = self._pipe()
        self._status, status = self._pipe()
        config = self.config._replace(supervisor=os.getpid(), lifeline=lifeline, status=status)
        flags = ["-I", "-S"] if config.reader == "proc" else ["-I"]  # psutil is a site package
        self._guardian = subprocess.Popen(
            [sys.executable, *flags, str(GUARDIAN), config.to_json(), *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(lifeline, status),
            start_new_session=True,
            cwd=cwd,
            env=None if env is None else dict(env),
        )
        self._open.callback(self._reap_guardian)
        self._close(lifeline)
        self._close(status)
        self._listen()

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for fd in ends:
            self._open.callback(self._close, fd)
        self._fds = getattr(self, "_fds", set()) | set(ends)
        return ends

    def _close(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.remove(fd)
            os.close(fd)

    def _listen(self) -> None:
        stdout, stderr = self._guardian.stdout, self._guardian.stderr
        assert stdout is not None and stderr is not None
        for file in (stdout, stderr):
            self._open.callback(file.close)
        self._selector.register(self._status, selectors.EVENT_READ, self._on_status)
        self._selector.register(stdout.fileno(), selectors.EVENT_READ, self._on_stdout)
        self._selector.register(stderr.fileno(), selectors.EVENT_READ, self._stderr.feed)

    def _reap_guardian(self) -> None:
        """End the tree if it still runs: end of file on the lifeline tells the guardian to."""
        self._close(self._lifeline)
        try:
            self._guardian.wait(GUARDIAN_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
            self._end_members()

    def _end_members(self) -> None:
        """Without the guardian's own word for it: end whoever was last seen in the tree, and all below them."""
        tree = tree_for(self.config.reader)
        for pid, started in self._members.items():
            if tree.started(pid) == started:
                killing.end_all(tree, pid)
                killing.send(tree, pid, started, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # --- while it runs

    def wait(self) -> Evidence:
        """Relay until the guardian reports that the tree is gone; what callbacks raise goes through."""
        while not self._ended and self._status in self._registered():
            self._relay(ASK_SECONDS)
            self._ask()
        if not self._ended:
            self._end_members()
        self._drain()
        self._note(requested=self._requested, stderr_tail=self._stderr.text(), guardian_lost=not self._ended)
        return self.evidence

    def _registered(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map() or {}

    def _relay(self, seconds: float) -> None:
        """Pass on what has arrived, waiting up to `seconds` for it."""
        self._silent = True
        for key, _mask in self._selector.select(seconds):
            chunk = os.read(key.fd, READ_BYTES)
            if not chunk:
                self._selector.unregister(key.fd)
            key.data(chunk)

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._registered() and time.monotonic() < deadline:
            self._relay(ASK_SECONDS)
        self._tell(self._lines.finish())

    def _on_stdout(self, chunk: bytes) -> None:
        self._silent = False
        if b"\n" in chunk:
            self._heard_at = time.monotonic()
        self._tell(self._lines.feed(chunk))

    def _tell(self, lines: list[str]) -> None:
        if self.callbacks.on_line is not None:
            for line in lines:
                self.callbacks.on_line(line)

    def _ask(self) -> None:
        """Ask the caller, and the clock, whether to go on."""
        now = time.monotonic()
        if self._requested is not None or now < self._ask_at:
            return
        self._ask_at = now + ASK_SECONDS
        wanted = self.callbacks.should_stop() if self.callbacks.should_stop is not None else None
        if wanted is None and self._has_stalled(now):
            wanted = EndReason.STALLED
        if wanted is not None:
            self._request(wanted)

    def _has_stalled(self, now: float) -> bool:
        """Not while there is more to read: what was said during a slow callback is still in the pipe."""
        stall = self.limits.stall_seconds
        return stall is not None and self._silent and now - self._heard_at > stall

    def _request(self, reason: EndReason) -> None:
        """With the machine out of memory there is no time for a grace period."""
        self._requested = reason
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b"K" if reason is EndReason.HOST_OUT_OF_MEMORY else b"T")

    # --- the guardian's reports

    def _on_status(self, chunk: bytes) -> None:
        for line in self._reports.feed(chunk):
            self._on_report(json.loads(line))

    def _on_report(self, report: dict[str, Any]) -> None:
        if "sample" in report:
            self._on_sample(report)
        elif "warned" in report:
            if self.callbacks.on_warning is not None:
                self.callbacks.on_warning(report["warned"])
        elif "started" in report:
            self.layers = tuple(report["layers"])
        elif "failed" in report:
            self._ended = True
            self._note(start_error=report["failed"])
        elif "ended" in report:
            self._on_end(report)

    def _on_sample(self, report: dict[str, Any]) -> None:
        self._members = {int(pid): float(started) for pid, started in report["members"]}
        sample = report["sample"]
        self._note(peak_bytes=sample["peak"], wall_seconds=time.monotonic() - self._started_at)
        if self.callbacks.on_sample is not None:
            self.callbacks.on_sample(
                TreeSample(sample["rss"], sample["pss"], sample["processes"], sample["peak"], sample["at"])
            )

    def _on_end(self, report: dict[str, Any]) -> None:
        status: int | None = report["status"]  # None for a program that survived SIGKILL
        self._ended = True
        if report["left"]:
            logger.error("processes %s could not be ended", report["left"])
        self.cpu_seconds = report["cpu_seconds"]
        self._note(
            cause=report["ended"],
            returncode=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            used_at_end=report["used"],
            peak_bytes=report["peak"],
            peak_data=report["peak_data"],
            wall_seconds=report["wall_seconds"],
        )

    def _note(self, **facts: Any) -> None:
        self.evidence = dataclasses.replace(self.evidence, **facts)
