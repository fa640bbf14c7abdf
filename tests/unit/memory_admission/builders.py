"""Short ways to make what these tests need."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from memory.conf import MIB, MemorySettings
from memory.queueing import Candidate, Charge

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeHost:
    """A host reading with the memory a test wants, bytes."""

    effective_limit: int = 64 * 1024 * MIB
    available: int = 64 * 1024 * MIB


@dataclass
class FakeProbe:
    reading: FakeHost

    def host(self) -> FakeHost:
        return self.reading


def probe(effective_mb: int = 65536, available_mb: int | None = None) -> FakeProbe:
    free = effective_mb if available_mb is None else available_mb
    return FakeProbe(FakeHost(effective_mb * MIB, free * MIB))


def memory(**changes: object) -> MemorySettings:
    """Settings: a budget of 2048 MB (1792 for heavy operations), three places, an hour until the queue drains."""
    values: dict[str, object] = {
        "memory_limit": 2048 * MIB,
        "memory_warning_threshold": 1536 * MIB,
        "process_memory_limit": 4096 * MIB,
        "max_concurrent_operations": 3,
        "streaming_chunk_size": 8192,
        "memory_check_interval": 10.0,
        "process_poll_interval": 0.1,
        "memory_budget": 2048 * MIB,
        "backfill_seconds": 3600.0,
        "history_days": 30,
        "host_name": "alpha",
        "metrics_token": "",
    }
    return MemorySettings(**{**values, **changes})  # type: ignore[arg-type]


def candidate(key: str, mb: int, *, owner: str = "", priority: int = 0, waited: float = 0) -> Candidate:
    """Waiting for `waited` seconds at EPOCH."""
    return Candidate(key, mb * MIB, owner, priority, waiting_since=EPOCH - timedelta(seconds=waited))


def charge(key: str, mb: int, *, owner: str = "", observed_mb: int = 0, heavy: bool = True) -> Charge:
    return Charge(key, owner, mb * MIB, observed_mb * MIB, heavy)
