"""The service's own processes: each says once that it is there, then now and again how it is.

Owns the ServiceProcess rows. The host's sampler refreshes those of idle processes (`sampling.py`).
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest, Now

from memory.conf import MemorySettings, memory_settings
from memory.incidents import record_incident
from memory.models import Host, IncidentKind, ServiceProcess
from memory.monitor import MemoryMonitor, process_monitor
from memory.probes.tree import started
from memory.quantities import format_bytes
from memory.rooms import WORKER_ROLE

logger = logging.getLogger(__name__)


class Registration:
    """Keeps this process's row, at most once per MEMORY_CHECK_INTERVAL however often it is asked."""

    def __init__(
        self, monitor: MemoryMonitor = process_monitor, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._monitor = monitor
        self._clock = clock
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._pid = 0

    def report(self, role: str) -> bool:
        """Write the row if that is due; whether it was. A database that fails is logged, and no reason to fail."""
        settings = memory_settings()
        if not self._take_turn(settings.memory_check_interval):
            return False
        try:
            self._write(role, settings)
        except DatabaseError:
            logger.warning("this process could not be registered", exc_info=True)
            return False
        return True

    def _take_turn(self, interval: float) -> bool:
        """A fork inherits the time of its parent's last report, but has made none itself."""
        now = self._clock()
        with self._lock:
            if self._pid == os.getpid() and now < self._due:
                return False
            self._pid, self._due = os.getpid(), now + interval
            return True

    def _write(self, role: str, settings: MemorySettings) -> None:
        reading, acceptance = self._monitor.own_process(), self._monitor.accepting_work()
        began = started(reading.pid) or 0.0
        with transaction.atomic():
            Host.objects.bulk_create([Host(name=settings.host_name)], ignore_conflicts=True)
            note_worker(role, settings.host_name)  # the host's row first, as the sampler has it: else they deadlock
            row, _ = ServiceProcess.objects.update_or_create(
                host_id=settings.host_name,
                pid=reading.pid,
                defaults={"role": role, "accepting": acceptance.ok, "reason": acceptance.reason[:255]},
            )
            note_usage(row, began, reading.rss, settings)


def note_worker(role: str, host: str) -> None:
    """The host has workers, if this is the role of one."""
    if role == WORKER_ROLE:
        Host.objects.filter(pk=host).update(workers_seen=Now())


def note_usage(row: ServiceProcess, began: float, rss: int, settings: MemorySettings) -> None:
    """Bring a process's row up to date; an incident if it just went over its warning threshold or its limit."""
    same = row.kernel_start == began
    before = row.rss_bytes if same else 0
    ServiceProcess.objects.filter(pk=row.pk).update(
        kernel_start=began,
        started_at=F("started_at") if same else Now(),
        rss_bytes=rss,
        peak_bytes=Greatest(F("peak_bytes"), rss) if same else rss,
        last_seen=Now(),
    )
    for threshold, kind in (
        (settings.memory_limit, IncidentKind.SERVICE_LIMIT),
        (settings.memory_warning_threshold, IncidentKind.SERVICE_WARNING),
    ):
        if before <= threshold < rss:
            _record(row, kind, rss, threshold)
            return


def _record(row: ServiceProcess, kind: IncidentKind, rss: int, threshold: int) -> None:
    what = "limit" if kind is IncidentKind.SERVICE_LIMIT else "warning threshold"
    record_incident(
        kind,
        operation_kind=row.role,
        operation_key=str(row.pid),
        limit_bytes=threshold,
        peak_bytes=rss,
        message=f"{row.role} process {row.pid} holds {format_bytes(rss)}, over its {what} of {format_bytes(threshold)}",
        host=row.host_id,
    )


_own = Registration()


def register_process(role: str) -> bool:
    """Say that this process is part of the service, as `role` (web, worker, reaper, …). Cheap; call it often."""
    return _own.report(role)


def keep_registered(role: str, stop: threading.Event | None = None) -> threading.Thread:
    """Register this process now and every MEMORY_CHECK_INTERVAL, from a thread that ends with it, or on `stop`.

    For a process that serves requests: call it once, after the fork. No request then waits for it.
    """
    arguments = (role, stop or threading.Event())
    thread = threading.Thread(target=_keep, args=arguments, name="memory-registration", daemon=True)
    thread.start()
    return thread


def _keep(role: str, stop: threading.Event) -> None:
    while True:
        register_process(role)
        connection.close()
        if stop.wait(memory_settings().memory_check_interval):
            return
