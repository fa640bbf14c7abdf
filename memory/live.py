"""One picture of memory, now: for the admin's live page, the API, the terminal view and the metrics.

Owns its shape, all sizes in bytes, times in ISO 8601 or seconds. Reads only; every list is bounded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Sum
from django.utils import timezone

from memory.conf import MemorySettings, memory_settings
from memory.estimates import RECENT
from memory.layers import enforcement_layers
from memory.limiter import ConcurrentOperationLimiter
from memory.models import (
    Host,
    MemoryIncident,
    PeakObservation,
    Reservation,
    SampleSubject,
    UsageSample,
)
from memory.monitor import MemoryMonitor
from memory.queueing import Candidate
from memory.rooms import live_hosts, live_processes

QueueSource = Callable[[], Sequence[Candidate]]

SHOWN_SAMPLES = 180
SHOWN_INCIDENTS = 20
SHOWN_ESTIMATES = 20
SHOWN_WAITING = 50
SHOWN_OPERATIONS = 50

_queue_sources: list[QueueSource] = []


def register_queue_source(source: QueueSource) -> None:
    """Let the live picture show what waits: `source()` gives candidates. Call it once, from `AppConfig.ready`."""
    if source not in _queue_sources:
        _queue_sources.append(source)


def live_snapshot(monitor: MemoryMonitor | None = None) -> dict[str, Any]:
    """The whole picture as JSON-ready data.

    Keys: at, host, pressure, settings, hosts, processes, operations, queue, queue_length, incidents, layers, estimates.
    """
    monitor = monitor or MemoryMonitor()
    limiter, settings = ConcurrentOperationLimiter(probe=monitor), memory_settings()
    waiting = [candidate for source in _queue_sources for candidate in source()]
    return {
        "at": timezone.now().isoformat(),
        "host": _host(monitor, limiter),
        "pressure": _pressure(limiter),
        "settings": _settings(settings),
        "hosts": _hosts(),
        "processes": _processes(settings),
        "operations": _operations(),
        "queue": _queue(limiter, waiting),
        "queue_length": len(waiting),
        "incidents": _incidents(),
        "layers": [asdict(layer) for layer in enforcement_layers()],
        "estimates": _estimates(),
    }


def _host(monitor: MemoryMonitor, limiter: ConcurrentOperationLimiter) -> dict[str, Any]:
    reading, room = monitor.host(), limiter.room()
    return {
        "name": limiter.host_name,
        **asdict(reading),
        "budget": room.budget,
        "heavy_budget": room.heavy_budget,
        "charged": sum(charge.bytes for charge in room.running),
        "reserved": sum(charge.reserved for charge in room.running),
        "observed": sum(charge.observed for charge in room.running),
        "free": room.free_heavy,
        "places": room.slots,
        "places_taken": room.heavy_running,
        "samples": _samples(SampleSubject.HOST, "", limiter.host_name),
    }


def _pressure(limiter: ConcurrentOperationLimiter) -> dict[str, Any]:
    pressure = limiter.pressure()
    return {**asdict(pressure), "message": pressure.message}


def _settings(settings: MemorySettings) -> dict[str, Any]:
    shown = asdict(settings)
    del shown["metrics_token"]
    return shown


def _hosts() -> list[dict[str, Any]]:
    held = Reservation.objects.held().order_by().values_list("host_id")
    running = {host: (count, size) for host, count, size in held.annotate(n=Count("id"), size=Sum("bytes"))}
    return [_host_row(host, *running.get(host.name, (0, 0))) for host in live_hosts()]


def _host_row(host: Host, running: int, reserved: int) -> dict[str, Any]:
    return {
        "name": host.name,
        "effective_limit": host.effective_bytes,
        "available": host.available_bytes,
        "budget": host.budget_bytes,
        "running": running,
        "reserved": reserved,
        "admissions": host.version,
        "last_seen": _iso(host.last_seen),
    }


def _processes(settings: MemorySettings) -> list[dict[str, Any]]:
    return [
        {
            "host": row.host_id,
            "role": row.role,
            "pid": row.pid,
            "rss": row.rss_bytes,
            "peak": row.peak_bytes,
            "level": _level(row.rss_bytes, settings),
            "accepting": row.accepting,
            "reason": row.reason,
            "last_seen": _iso(row.last_seen),
        }
        for row in live_processes().order_by("host_id", "role", "pid")[:SHOWN_OPERATIONS]
    ]


def _level(rss: int, settings: MemorySettings) -> str:
    if rss > settings.memory_limit:
        return "over_limit"
    return "over_warning" if rss > settings.memory_warning_threshold else "ok"


def _operations() -> list[dict[str, Any]]:
    held = Reservation.objects.held().order_by()[:SHOWN_OPERATIONS]  # sorted here: few are held of all on record
    return [_operation(row) for row in sorted(held, key=lambda row: (row.created_at, row.pk))]


def _operation(row: Reservation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "host": row.host_id,
        "kind": row.kind,
        "heavy": row.heavy,
        "key": row.key,
        "label": row.label or f"{row.kind} {row.key}",
        "owner": row.owner,
        "reserved": row.bytes,
        "observed": row.observed_bytes,
        "peak": row.peak_bytes,
        "limit": row.limit_bytes,
        "started_at": _iso(row.created_at),
        "renewed_at": _iso(row.renewed_at),
        "samples": _samples(SampleSubject.OPERATION, str(row.pk), row.host_id),
    }


def _samples(subject: SampleSubject, key: str, host: str) -> list[list[float]]:
    """[epoch seconds, bytes] of the latest samples, oldest first."""
    rows = UsageSample.objects.filter(subject=subject, subject_key=key, host_id=host)
    latest = rows.order_by("-at").values_list("at", "bytes")[:SHOWN_SAMPLES]
    return [[round(at.timestamp(), 1), used] for at, used in reversed(latest)]


def _queue(limiter: ConcurrentOperationLimiter, waiting: Sequence[Candidate]) -> list[dict[str, Any]]:
    why = limiter.waiting_reasons(waiting)
    shown = {candidate.key: candidate for candidate in waiting}
    return [
        {
            "key": key,
            "label": shown[key].label or key,
            "owner": shown[key].owner,
            "bytes": shown[key].bytes,
            "priority": shown[key].priority,
            "waiting_since": _iso(shown[key].waiting_since),
            "reason": reason,
        }
        for key, reason in list(why.items())[:SHOWN_WAITING]
    ]


def _incidents() -> list[dict[str, Any]]:
    return [
        {
            "id": row.pk,
            "at": _iso(row.at),
            "host": row.host_id,
            "kind": row.kind,
            "title": row.get_kind_display(),
            "operation_kind": row.operation_kind,
            "operation_key": row.operation_key,
            "limit": row.limit_bytes,
            "peak": row.peak_bytes,
            "message": row.message,
        }
        for row in MemoryIncident.objects.order_by("-at", "-id")[:SHOWN_INCIDENTS]
    ]


def _estimates() -> list[dict[str, Any]]:
    """Estimated against actual, for the kinds of operation seen last."""
    groups = PeakObservation.objects.order_by().values("kind", "feature_key").annotate(last=Max("id"))
    return [_estimate(group) for group in groups.order_by("-last")[:SHOWN_ESTIMATES]]


def _estimate(group: Mapping[str, Any]) -> dict[str, Any]:
    same = PeakObservation.objects.filter(kind=group["kind"], feature_key=group["feature_key"])
    recent = list(same.order_by("-id")[:RECENT])
    return {
        "kind": group["kind"],
        "features": group["feature_key"],
        "estimated": recent[0].estimated_bytes,
        "observed": recent[0].observed_bytes,
        "observed_max": max(one.observed_bytes for one in recent),
        "count": len(recent),
        "low": sum(one.was_low for one in recent),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
