"""The app's settings: read from Django's settings, checked, and given in bytes and seconds.

Owns what each setting means and what is wrong with a value. Reports nothing: `checks.py` does, at start.
A wrong value is never replaced by a default; whoever asks for the settings then gets ImproperlyConfigured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from socket import gethostname
from types import MappingProxyType
from typing import TypeGuard

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

MIB = 1024**2

LIGHT_KINDS = frozenset({"probe", "upload", "hand_over", "zip", "download"})
"""Short operations with a small, fixed need. All other kinds count against MAX_CONCURRENT_OPERATIONS."""


@dataclass(frozen=True)
class Number:
    """What a numeric setting may be. `check` is the stable part of its system check's id."""

    name: str
    default: float
    minimum: float
    unit: str
    check: str
    whole: bool = True
    maximum: float = math.inf

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        kind = "a whole number" if self.whole else "a number"
        most = f", at most {self.maximum:g}" if self.maximum < math.inf else ""
        if _is_number(value, whole=self.whole) and self.minimum <= value <= self.maximum:
            return None
        return f"{self.name} is {value!r}; it must be {kind} of {self.unit}, at least {self.minimum:g}{most}."


NUMBERS: Mapping[str, Number] = MappingProxyType(
    {
        number.name: number
        for number in (
            Number("MEMORY_LIMIT_MB", 2048, 32, "MB", "E001"),
            Number("MEMORY_WARNING_THRESHOLD_MB", 1536, 16, "MB", "E002"),
            Number("MAX_CONCURRENT_OPERATIONS", 3, 1, "operations", "E003"),
            Number("STREAMING_CHUNK_SIZE", 262_144, 512, "bytes", "E004"),
            Number("PROCESS_MEMORY_LIMIT_MB", 4096, 32, "MB", "E005"),
            Number("MEMORY_CHECK_INTERVAL", 10, 0.1, "seconds", "E006", whole=False, maximum=60),
            Number("PROCESS_POLL_INTERVAL_MS", 100, 10, "milliseconds", "E007", maximum=10_000),
            Number("MEMORY_BUDGET_MB", 0, 0, "MB", "E008"),
            Number("MEMORY_BACKFILL_SECONDS", 60, 0, "seconds", "E009", whole=False, maximum=86_400),
            Number("MEMORY_HISTORY_DAYS", 30, 0, "days", "E010", maximum=36_500),
        )
    }
)


@dataclass(frozen=True)
class MemorySettings:
    """Sizes in bytes, times in seconds."""

    memory_limit: int
    memory_warning_threshold: int
    process_memory_limit: int
    max_concurrent_operations: int
    streaming_chunk_size: int
    memory_check_interval: float
    process_poll_interval: float
    memory_budget: int | None
    backfill_seconds: float
    history_days: int
    """0: kept."""
    host_name: str
    metrics_token: str


def memory_settings() -> MemorySettings:
    """The settings as they are now.

    Raises:
        ImproperlyConfigured: a value is not what it must be; the message names it.
    """
    return MemorySettings(
        memory_limit=_whole("MEMORY_LIMIT_MB") * MIB,
        memory_warning_threshold=_whole("MEMORY_WARNING_THRESHOLD_MB") * MIB,
        process_memory_limit=_whole("PROCESS_MEMORY_LIMIT_MB") * MIB,
        max_concurrent_operations=_whole("MAX_CONCURRENT_OPERATIONS"),
        streaming_chunk_size=_whole("STREAMING_CHUNK_SIZE"),
        memory_check_interval=_value("MEMORY_CHECK_INTERVAL"),
        process_poll_interval=_value("PROCESS_POLL_INTERVAL_MS") / 1000,
        memory_budget=_whole("MEMORY_BUDGET_MB") * MIB or None,
        backfill_seconds=_value("MEMORY_BACKFILL_SECONDS"),
        history_days=_whole("MEMORY_HISTORY_DAYS"),
        host_name=getattr(settings, "HOST_NAME", "") or gethostname(),
        metrics_token=getattr(settings, "METRICS_TOKEN", ""),
    )


def raw_value(name: str) -> object:
    """What Django's settings hold for `name`, or its default if they do not mention it."""
    default = NUMBERS[name].default
    return getattr(settings, name, int(default) if NUMBERS[name].whole else default)


def is_light(kind: str) -> bool:
    """Whether operations of this kind leave MAX_CONCURRENT_OPERATIONS alone."""
    return kind in LIGHT_KINDS


def _value(name: str) -> float:
    value = raw_value(name)
    if problem := NUMBERS[name].problem(value):
        raise ImproperlyConfigured(problem)
    return value  # type: ignore[return-value]


def _whole(name: str) -> int:
    return int(_value(name))


def _is_number(value: object, *, whole: bool) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value) and not whole
    return isinstance(value, int) and not isinstance(value, bool)
