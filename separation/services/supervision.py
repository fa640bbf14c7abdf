"""One attempt while it runs: listens to the child, keeps row and leases alive, says when the child must end.

Owns the callbacks given to `ProcessResourceManager.run`. They are cheap; what they learn is written to the
database by `should_stop` alone, at the pace of the constants below. A database that does not answer for a
while ends nothing: only an answer that says "lost" or "cancelled" does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from memory.pressure import RENEWAL_SECONDS
from memory.processes import EndReason
from separation import states
from separation.models import JobState, SeparationJob
from separation.services import disk, stopping
from separation.services.children import parse_event
from separation.states import Fence

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4
PROGRESS_SECONDS = 1.0
HEARTBEAT_SECONDS = RENEWAL_SECONDS
LEASE_SHARE = 0.2
"""A heartbeat is sent after this share of the lease, so several may fail before it runs out."""


class StopCause(StrEnum):
    """Why this side ended a child."""

    CANCELLED = "cancelled"
    FENCE_LOST = "fence_lost"
    STOPPING = "stopping"
    PRESSURE = "pressure"
    DISK_FULL = "disk_full"


class Sample(Protocol):
    """The part of a `TreeSample` that is used, bytes."""

    @property
    def used_bytes(self) -> int: ...
    @property
    def peak_bytes(self) -> int: ...


class Victims(Protocol):
    """The part of the limiter that an attempt needs."""

    def renew(self, reservation_id: int, *, observed_bytes: int) -> bool: ...
    def choose_victim(self) -> Any: ...


class AttemptWatch:
    """Watches one attempt. `result` and `error` are the engine's last words; `cause` is why it was told to end."""

    def __init__(
        self,
        fence: Fence,
        *,
        reservation_id: int,
        limiter: Victims,
        lease_seconds: float,
        disk_is_short: Callable[[], bool] = disk.is_short,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fence = fence
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.cause: StopCause | None = None
        self.peak_bytes = 0
        self._current_bytes = 0
        self._reservation_id = reservation_id
        self._limiter = limiter
        self._lease_seconds = lease_seconds
        self._disk_is_short = disk_is_short
        self._clock = clock
        self._phase, self._fraction = "loading", 0.0
        self._separating_since: tuple[float, float] | None = None
        self._unwritten = False
        self._due = dict.fromkeys(("look", "progress", "heartbeat"), clock())

    # --- callbacks of the process manager

    def on_line(self, line: str) -> None:
        event = parse_event(line)
        match event.get("event"):
            case "phase":
                self.enter(str(event.get("phase", "")))
            case "progress":
                self._advance(event.get("fraction"))
            case "result":
                self.result = event
            case "error":
                self.error = event

    def on_sample(self, sample: Sample) -> None:
        if not self._current_bytes:
            self._due["heartbeat"] = self._clock()  # under pressure only what is known to hold memory is ended
        self._current_bytes = sample.used_bytes
        self.peak_bytes = max(self.peak_bytes, sample.peak_bytes, self._current_bytes)

    def should_stop(self) -> EndReason | None:
        """Called every 100 ms or so while the child runs."""
        self.beat()
        if self.cause is None:
            return None
        return EndReason.HOST_OUT_OF_MEMORY if self.cause is StopCause.PRESSURE else EndReason.CANCELLED

    # --- also while staging and publishing

    def enter(self, phase: str) -> None:
        self._phase, self._unwritten = phase, True

    def child_ended(self) -> None:
        """Nothing holds memory any more, however long what is left takes; the next beat says so."""
        self._current_bytes, self._due["heartbeat"] = 0, self._clock()

    def beat(self) -> None:
        """Do what is due: look for a reason to stop, write progress, renew the leases."""
        if stopping.requested():
            self._stop(StopCause.STOPPING)
        for name, seconds, act in (
            ("look", LOOK_SECONDS, self._look),
            ("progress", PROGRESS_SECONDS, self._write_progress),
            ("heartbeat", min(HEARTBEAT_SECONDS, self._lease_seconds * LEASE_SHARE), self._renew),
        ):
            if self._clock() >= self._due[name]:
                self._due[name] = self._clock() + seconds
                _unless_database_fails(act)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Keep beating, from a thread of its own, while this one is busy with storage for who knows how long."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat_until, args=(done,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat_until(self, done: threading.Event) -> None:
        try:
            while not done.is_set():
                self.beat()
                done.wait(LOOK_SECONDS)
        finally:
            connections.close_all()

    def require_fence(self) -> None:
        """Raise `FenceLostError` once the job is known to be somebody else's."""
        if self.cause is StopCause.FENCE_LOST:
            raise states.FenceLostError(f"job {self.fence.job_id} was taken from attempt {self.fence.attempt}")

    # --- what is due

    def _look(self) -> None:
        row = SeparationJob.objects.filter(pk=self.fence.job_id)
        found = row.values_list("state", "attempt_number", "cancel_requested_at").first()
        if found is None or found[:2] != (JobState.RUNNING, self.fence.attempt):
            self._stop(StopCause.FENCE_LOST)
        elif found[2] is not None:
            self._stop(StopCause.CANCELLED)
        elif self._disk_is_short() and (disk.is_nearly_full() or self._began_last_here()):
            self._stop(StopCause.DISK_FULL)
        elif self.cause is None:
            self._yield_to_pressure()

    def _began_last_here(self) -> bool:
        """Of the attempts on this host that still write: one makes room for the others, as under memory pressure."""
        here = SeparationJob.objects.filter(pk=self.fence.job_id).values("host")
        writing = SeparationJob.objects.filter(state=JobState.RUNNING, host__in=here).exclude(phase="publishing")
        return writing.order_by("-started_at", "-id").values_list("pk", flat=True).first() == self.fence.job_id

    def _yield_to_pressure(self) -> None:
        victim = self._limiter.choose_victim()
        if victim is not None and victim.pk == self._reservation_id:
            self._stop(StopCause.PRESSURE)

    def _write_progress(self) -> None:
        if not self._unwritten:
            return
        self._unwritten = False
        held = states.progressed(
            self.fence,
            phase=self._phase,
            progress=self._fraction,
            eta_seconds=self._eta(),
            current_bytes=self._current_bytes,
        )
        if not held:
            self._stop(StopCause.FENCE_LOST)

    def _renew(self) -> None:
        held = states.heartbeat(
            self.fence,
            lease_seconds=self._lease_seconds,
            current_bytes=self._current_bytes,
            peak_bytes=self.peak_bytes,
        )
        if not held:
            self._stop(StopCause.FENCE_LOST)
        # Its place stays taken until the worker is free again, also when the job is no longer this attempt's.
        if not self._limiter.renew(self._reservation_id, observed_bytes=self._current_bytes):
            logger.warning("reservation was released while the job runs", extra=self._context())

    def _stop(self, cause: StopCause) -> None:
        if self.cause is None or cause is StopCause.FENCE_LOST:
            if self.cause is not cause:
                level = logging.DEBUG if cause is StopCause.FENCE_LOST else logging.INFO
                logger.log(level, "ending the attempt: %s", cause, extra=self._context())
            self.cause = cause

    def _advance(self, fraction: object) -> None:
        if not isinstance(fraction, int | float):
            return
        self._fraction, self._unwritten = min(1.0, max(self._fraction, float(fraction))), True
        if self._separating_since is None and self._phase == "separating":
            self._separating_since = (self._clock(), self._fraction)

    def _eta(self) -> float | None:
        """Seconds left at the pace since separation began."""
        if self._separating_since is None:
            return None
        began, at = self._separating_since
        done, spent = self._fraction - at, self._clock() - began
        return round(spent / done * (1 - self._fraction), 1) if done > 0 and spent > 0 else None

    def _context(self) -> dict[str, object]:
        return {"job": self.fence.job_id, "attempt": self.fence.attempt}


def _unless_database_fails(act: Callable[[], None]) -> None:
    try:
        act()
    except DatabaseError:
        logger.warning("the database did not answer; trying again", exc_info=True)
        close_old_connections()
