"""The look at memory before work is taken: logged each time, and refused while this process holds too much."""

from __future__ import annotations

import logging
from functools import lru_cache

from memory.monitor import MemoryMonitor
from separation.api.problems import Problem

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def monitor() -> MemoryMonitor:
    """One per process: its hysteresis is about this process."""
    return MemoryMonitor()


def refuse_when_busy(operation: str) -> None:
    """Logs the memory status and raises 503 with Retry-After while no new work is accepted."""
    acceptance = monitor().accepting_work()
    reading = monitor().own_process()
    logger.info("memory before work", extra={"operation": operation, "bytes": reading.rss})
    if not acceptance.ok:
        headers = {"Retry-After": str(max(1, int(acceptance.retry_after)))}
        raise Problem(503, "busy", acceptance.reason, headers=headers)
