"""Room on the disk that attempts write to.

Owns how much must stay free: the database is often on the same disk, and must go on writing whatever a job does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from django.conf import settings

from memory.quantities import format_bytes
from separation import catalog
from separation.errors import ReasonCode, ServiceError
from separation.options import SeparationOptions

LEAST_FREE_BYTES = 256 * 1024**2


def free_bytes(folder: Path | None = None) -> int:
    """What can still be written below `folder` (default: STAGING_DIR)."""
    place = Path(folder or settings.STAGING_DIR)
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    return shutil.disk_usage(existing).free


def is_short() -> bool:
    """Whether so little is free that something of what is being written has to stop."""
    return free_bytes() < LEAST_FREE_BYTES


def is_nearly_full() -> bool:
    """Whether so little is free that all of it has to."""
    return free_bytes() < LEAST_FREE_BYTES // 2


def require_room(options: SeparationOptions, duration: float | None, folder: Path | None = None) -> None:
    """Raise `ServiceError` (disk_full) unless everything a run may write fits, with something to spare."""
    needed, free = catalog.disk_bytes(options, duration or 0.0), free_bytes(folder)
    if needed + LEAST_FREE_BYTES > free:
        message = (
            f"The stems may need {format_bytes(needed)} of disk while they are made; {format_bytes(free)} are free. "
            "An administrator has to make room, or choose a smaller format."
        )
        raise ServiceError(ReasonCode.DISK_FULL, message, http_status=507)
