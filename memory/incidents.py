"""Recording what went wrong with memory. Owns which endings count; what follows from them is the caller's."""

import logging
from collections.abc import Mapping
from types import MappingProxyType

from memory.conf import memory_settings
from memory.models import Host, IncidentKind, MemoryIncident
from memory.processes import EndReason, Outcome
from memory.retries import atomically

logger = logging.getLogger(__name__)

ENDINGS: Mapping[EndReason, IncidentKind] = MappingProxyType(
    {
        EndReason.MEMORY_LIMIT: IncidentKind.MEMORY_LIMIT,
        EndReason.HOST_OUT_OF_MEMORY: IncidentKind.HOST_OUT_OF_MEMORY,
        EndReason.KILLED: IncidentKind.KILLED,
    }
)


def record_outcome(outcome: Outcome, *, kind: str, key: str, limit_bytes: int) -> MemoryIncident | None:
    """Keep an incident if a supervised operation ended for memory, or was killed from outside; else None."""
    incident = ENDINGS.get(outcome.reason)
    if incident is None:
        return None
    return record_incident(
        incident,
        operation_kind=kind,
        operation_key=key,
        limit_bytes=limit_bytes,
        peak_bytes=outcome.peak_bytes,
        message=outcome.message,
    )


def record_incident(
    kind: IncidentKind,
    *,
    operation_kind: str = "",
    operation_key: str = "",
    limit_bytes: int | None = None,
    peak_bytes: int | None = None,
    message: str = "",
    host: str = "",
) -> MemoryIncident:
    """Append an incident on `host` (this one unless named), and log it."""
    name = host or memory_settings().host_name

    def append() -> MemoryIncident:
        Host.objects.bulk_create([Host(name=name)], ignore_conflicts=True)
        return MemoryIncident.objects.create(
            host_id=name,
            kind=kind,
            operation_kind=operation_kind,
            operation_key=operation_key,
            limit_bytes=limit_bytes,
            peak_bytes=peak_bytes,
            message=message,
        )

    logger.warning("%s: %s", kind.label, message, extra={"operation": operation_key, "limit": limit_bytes})
    return atomically(append)
