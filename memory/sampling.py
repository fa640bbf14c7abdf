"""The history of memory: a sample of everything each MEMORY_CHECK_INTERVAL, thinned out as it ages.

Owns when samples are taken and how long they are kept. Enforcement does not wait for them.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from django.db.models import Count, Min
from django.db.models.functions import Now

from memory.conf import memory_settings
from memory.limiter import ConcurrentOperationLimiter
from memory.models import (
    Host,
    MemoryIncident,
    PeakObservation,
    Reservation,
    SampleSubject,
    ServiceProcess,
    UsageSample,
)
from memory.monitor import MemoryMonitor
from memory.probes.host import HostReading
from memory.probes.tree import started
from memory.queueing import light_share
from memory.registration import note_usage, note_worker
from memory.retries import atomically

THIN_EVERY_SECONDS = 300.0
GONE_AFTER = timedelta(minutes=5)
"""A service process of another host, or of one that cannot be looked at, is forgotten after this silence."""
LEVELS = ((60, timedelta(hours=1)), (900, timedelta(days=1)))
"""Samples older than the second keep only the most in each span of the first, seconds."""
KEPT_PEAKS = 100
"""Observed peaks kept for each kind and features."""


class Sampler:
    """Takes samples when they are due; ask it as often as you like. One per host is enough."""

    def __init__(self, monitor: MemoryMonitor | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._monitor = monitor or MemoryMonitor()
        self._clock = clock
        self._sample_at = self._thin_at = float("-inf")

    def tick(self) -> bool:
        """Sample if MEMORY_CHECK_INTERVAL has passed, thin out old samples every five minutes; whether it sampled."""
        now = self._clock()
        if now < self._sample_at:
            return False
        self._sample_at = now + memory_settings().memory_check_interval
        sample_host_and_processes(self._monitor)
        if now >= self._thin_at:
            self._thin_at = now + THIN_EVERY_SECONDS
            thin_history()
        return True


def sample_host_and_processes(monitor: MemoryMonitor | None = None) -> None:
    """Keep one sample of this host and of each live service process on it; forget those that have ended."""
    monitor = monitor or MemoryMonitor()
    reading, name = monitor.host(), memory_settings().host_name
    budget = ConcurrentOperationLimiter(probe=monitor).budget()

    def sample() -> None:
        _sample_host(name, reading, budget)
        _sample_processes(name)

    atomically(sample)


def _sample_host(name: str, reading: HostReading, budget: int) -> None:
    Host.objects.update_or_create(
        name=name,
        defaults={
            "effective_bytes": reading.effective_limit,
            "available_bytes": reading.available,
            "budget_bytes": budget,
            "heavy_bytes": budget - light_share(budget),
            "last_seen": Now(),
        },
    )
    UsageSample.objects.create(
        host_id=name, subject=SampleSubject.HOST, bytes=reading.used, available_bytes=reading.available
    )


def _sample_processes(host: str) -> None:
    settings = memory_settings()
    for row in ServiceProcess.objects.filter(host_id=host):
        rss = _resident(row)
        if rss is None:
            row.delete()
            continue
        note_worker(row.role, host)
        note_usage(row, row.kernel_start, rss, settings)
        UsageSample.objects.create(
            host_id=host, subject=SampleSubject.PROCESS, subject_key=f"{row.role}:{row.pid}", bytes=rss
        )
    ServiceProcess.objects.filter(last_seen__lt=Now() - GONE_AFTER).delete()


def _resident(row: ServiceProcess) -> int | None:
    """Bytes of the process that registered; None if it has ended, whoever has its number now."""
    try:
        return psutil.Process(row.pid).memory_info().rss if started(row.pid) == row.kernel_start else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


# --- growing old


def thin_history(now: datetime | None = None) -> None:
    """Reduce old samples to the most in each span, and delete what is past MEMORY_HISTORY_DAYS, unless that is 0."""
    now = now or datetime.now(UTC)
    for span, age in LEVELS:
        _thin(span, now - age)
    if days := memory_settings().history_days:
        _delete_old(now - timedelta(days=days))
    _delete_surplus_peaks()


def _thin(span: int, before: datetime) -> None:
    """An hour or a day at a time, so that little is held in memory however much has piled up."""
    end = _floor(before, span)
    step = timedelta(seconds=60 * span)
    while (start := _oldest(span, end)) is not None:
        start = _floor(start, span)
        _thin_window(span, start, min(start + step, end))


def _oldest(span: int, before: datetime) -> datetime | None:
    return UsageSample.objects.filter(resolution__lt=span, at__lt=before).aggregate(at=Min("at"))["at"]


def _thin_window(span: int, start: datetime, end: datetime) -> None:
    window = UsageSample.objects.filter(resolution__lt=span, at__gte=start, at__lt=end)

    def thin() -> None:
        locked = window.select_for_update().order_by("pk")  # another host that thins finds them gone after this
        merged = _merge(locked.iterator(), span)
        window.delete()
        UsageSample.objects.bulk_create(merged, batch_size=500)

    atomically(thin)


def _merge(samples: Iterable[UsageSample], span: int) -> list[UsageSample]:
    """One sample for each subject and span: the most used, the least available, the highest peak."""
    merged: dict[tuple[Any, ...], UsageSample] = {}
    for sample in samples:
        at = _floor(sample.at, span)
        kept = merged.setdefault((sample.host_id, sample.subject, sample.subject_key, at), sample)
        kept.pk, kept.at, kept.resolution = None, at, span
        kept.bytes = max(kept.bytes, sample.bytes)
        kept.available_bytes = _least(kept.available_bytes, sample.available_bytes)
        kept.peak_bytes = max((p for p in (kept.peak_bytes, sample.peak_bytes) if p is not None), default=None)
    return list(merged.values())


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _floor(at: datetime, span: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // span * span, UTC)


def _delete_old(before: datetime) -> None:
    UsageSample.objects.filter(resolution__in=[0, *(span for span, _ in LEVELS)], at__lt=before).delete()
    MemoryIncident.objects.filter(at__lt=before).delete()
    Reservation.objects.filter(created_at__lt=before, released_at__lt=before).delete()
    Host.objects.filter(last_seen__lt=before).delete()


def _delete_surplus_peaks() -> None:
    counted = PeakObservation.objects.order_by().values("kind", "feature_key").annotate(n=Count("id"))
    for group in counted.filter(n__gt=KEPT_PEAKS):
        same = PeakObservation.objects.filter(kind=group["kind"], feature_key=group["feature_key"]).order_by("-id")
        same.filter(id__lte=same.values_list("id", flat=True)[KEPT_PEAKS]).delete()
