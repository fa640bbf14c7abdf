"""When a host is short of memory, and which operation then has to go. Pure; readings and rows are given."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from memory.conf import MIB
from memory.models import Reservation
from memory.quantities import format_bytes

PAUSE_SHARE, PAUSE_MAX_BYTES = 0.05, 512 * MIB
OVER_ESTIMATE = 1.1
"""An operation that uses more than this times its estimate is ended before one that keeps to it."""

RENEWAL_SECONDS = 5.0
"""How often an operation that can be ended reports what it holds (`ConcurrentOperationLimiter.renew`), or oftener."""
SILENT_AFTER = timedelta(seconds=3 * RENEWAL_SECONDS)
"""Who has not reported for this long may be gone, and is not counted on to end anything."""


class Level(StrEnum):
    """CALM: admit. PAUSE: admit nothing. SHED: end one operation."""

    CALM = "calm"
    PAUSE = "pause"
    SHED = "shed"


@dataclass(frozen=True)
class Pressure:
    """How short a host is. `available` and the two thresholds in bytes."""

    level: Level
    available: int
    pause_below: int
    shed_below: int

    @property
    def message(self) -> str:
        if self.level is Level.CALM:
            return ""
        return f"paused: this machine has only {format_bytes(self.available)} of memory available"


def floor_bytes(effective: int) -> int:
    """Available memory below which nothing is admitted: 5 % of the machine, at most 512 MB."""
    return min(int(effective * PAUSE_SHARE), PAUSE_MAX_BYTES)


def judge(available: int, effective: int) -> Pressure:
    """The level for a host that has `available` of `effective` bytes; operations end below half the floor."""
    pause = floor_bytes(effective)
    shed = pause // 2
    level = Level.SHED if available < shed else Level.PAUSE if available < pause else Level.CALM
    return Pressure(level, available, pause, shed)


def victim(running: Iterable[Reservation]) -> Reservation | None:
    """The most over its estimate, in bytes, if any is clearly over; else the newest."""
    everyone = list(running)
    over = [one for one in everyone if one.observed_bytes > one.bytes * OVER_ESTIMATE]
    if over:
        return max(over, key=lambda one: (one.observed_bytes - one.bytes, one.pk))
    return max(everyone, key=lambda one: (one.created_at, one.pk), default=None)
