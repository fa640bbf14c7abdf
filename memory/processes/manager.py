"""`ProcessResourceManager`: the one way in which this service runs another program.

Owns putting an operation together: its wall, its guardian, its evidence, its outcome. Usable from any thread
and from daemonic workers: it sets no signal handler, forks no Python code and keeps no state between runs.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from memory.guardian.config import Config
from memory.policy import KILL_FRACTION, WARN_FRACTION
from memory.probes.oom import host_oom_kills
from memory.probes.tree import default_reader
from memory.processes.classify import Evidence, classify, describe
from memory.processes.contract import EndReason, OperationLimits, Outcome, TreeSample
from memory.processes.operation import Callbacks, Operation
from memory.quantities import format_bytes
from memory.walls import Wall, open_wall

logger = logging.getLogger(__name__)

DEFAULT_POLL_SECONDS = 0.1
OOM_SCORE_ADJ = 700  # of 1000: the kernel spares the service and takes the operation


class ProcessResourceManager:
    """Runs programs with limits. One instance may serve any number of threads.

    `poll_seconds` is the longest time between two looks at a tree (default: the setting
    PROCESS_POLL_INTERVAL_MS). `walls` opens the kernel's wall for an operation, `oom_kills` counts the OOM
    killer's victims, `reader` is "proc" or "psutil"; tests inject them.
    """

    def __init__(
        self,
        *,
        poll_seconds: float | None = None,
        warn_fraction: float = WARN_FRACTION,
        kill_fraction: float = KILL_FRACTION,
        walls: Callable[[int, str], Wall | None] = open_wall,
        oom_kills: Callable[[], int] = host_oom_kills,
        reader: str | None = None,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._warn_fraction, self._kill_fraction = warn_fraction, kill_fraction
        self._walls, self._oom_kills = walls, oom_kills
        self._reader = reader or default_reader()

    def run(
        self,
        argv: Sequence[str],
        *,
        limits: OperationLimits,
        label: str,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        on_sample: Callable[[TreeSample], None] | None = None,
        on_warning: Callable[[int], None] | None = None,
        should_stop: Callable[[], EndReason | None] | None = None,
    ) -> Outcome:
        """Run `argv` to its end; when this returns or raises, its whole process tree is gone.

        `on_line` gets each line of its standard output (cut at 1 MiB), `on_sample` a reading about every poll
        interval, `on_warning` once the bytes held when 85 % of the limit were passed. `should_stop` is asked every
        100 ms; an answer of CANCELLED ends the tree with grace, HOST_OUT_OF_MEMORY at once. All are called in the
        caller's thread, and none of them holds up enforcement; what one raises ends the tree and goes through.
        A program that can't be started is an Outcome too (FAILED).
        """
        wall = self._walls(limits.memory_bytes, label)
        callbacks = Callbacks(on_line, on_sample, self._warner(label, limits, on_warning), should_stop)
        try:
            return self._supervise(argv, limits, label, wall, callbacks, cwd, env)
        finally:
            if wall is not None:
                wall.close()

    def _supervise(
        self,
        argv: Sequence[str],
        limits: OperationLimits,
        label: str,
        wall: Wall | None,
        callbacks: Callbacks,
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
    ) -> Outcome:
        prefix = wall.prefix if wall is not None else ()
        kills_before = self._oom_kills()
        with Operation([*prefix, *argv], limits, self._config(limits, wall), callbacks) as operation:
            try:
                operation.start(cwd, _environment(env, wall))
            except OSError as error:
                evidence = Evidence(limits, start_error=f"{error.filename or argv[0]}: {error.strerror}")
            else:
                evidence = operation.wait()
        evidence = self._with_kills(evidence, wall, kills_before)
        scope = (wall.name,) if wall is not None and wall.prefix else ()
        return self._outcome(evidence, operation, (*operation.layers, *scope), label)

    def _config(self, limits: OperationLimits, wall: Wall | None) -> Config:
        return Config(
            memory_bytes=limits.memory_bytes,
            warn_fraction=self._warn_fraction,
            kill_fraction=self._kill_fraction,
            poll_seconds=default_poll_seconds() if self._poll_seconds is None else self._poll_seconds,
            grace_seconds=limits.grace_seconds,
            oom_score_adj=OOM_SCORE_ADJ,
            reader=self._reader,
            wall_seconds=limits.wall_seconds,
            data_bytes=limits.data_bytes,
            wall=wall.name if wall is not None else None,
            cgroup=wall.cgroup if wall is not None else None,
        )

    def _with_kills(self, evidence: Evidence, wall: Wall | None, kills_before: int) -> Evidence:
        return dataclasses.replace(
            evidence,
            host_kills=self._oom_kills() - kills_before,
            wall_kills=wall.kills() if wall is not None else 0,
            walled=wall is not None,
        )

    def _outcome(self, evidence: Evidence, operation: Operation, layers: tuple[str, ...], label: str) -> Outcome:
        reason = classify(evidence)
        outcome = Outcome(
            reason=reason,
            returncode=evidence.returncode,
            signal=evidence.signal,
            peak_bytes=evidence.peak_bytes,
            wall_seconds=evidence.wall_seconds,
            cpu_seconds=operation.cpu_seconds,
            stderr_tail=evidence.stderr_tail,
            layers=layers,
            message=describe(reason, evidence),
        )
        expected = reason in (EndReason.COMPLETED, EndReason.CANCELLED)
        logger.log(logging.INFO if expected else logging.WARNING, "%s: %s", label, outcome.message)
        return outcome

    def _warner(
        self, label: str, limits: OperationLimits, on_warning: Callable[[int], None] | None
    ) -> Callable[[int], None]:
        def warn(used: int) -> None:
            limit = format_bytes(limits.memory_bytes)
            logger.warning("%s: holds %s, and its limit is %s", label, format_bytes(used), limit)
            if on_warning is not None:
                on_warning(used)

        return warn


def _environment(env: Mapping[str, str] | None, wall: Wall | None) -> Mapping[str, str] | None:
    """`env`, and what the wall's prefix needs; None stands for this process's own."""
    if wall is None or not wall.environment:
        return env
    return {**(os.environ if env is None else env), **wall.environment}


def default_poll_seconds() -> float:
    """PROCESS_POLL_INTERVAL_MS where Django is configured, else 100 ms."""
    from django.conf import settings

    if not settings.configured and "DJANGO_SETTINGS_MODULE" not in os.environ:
        return DEFAULT_POLL_SECONDS
    from memory.conf import memory_settings

    return memory_settings().process_poll_interval
