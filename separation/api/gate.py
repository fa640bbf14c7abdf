"""The look at memory before work is taken: logged each time, and refused while this process holds too much."""

from __future__ import annotations

import logging

from memory.monitor import process_monitor
from separation.api.problems import Problem
from separation.services.costs import STREAMED, operation_bytes

logger = logging.getLogger(__name__)


def refuse_when_busy(operation: str) -> None:
    """Logs the memory status and raises 503 with Retry-After while no new work is accepted.

    What is streamed takes memory of this process and has to fit; a separation runs in one of its own.
    """
    needs = operation_bytes(operation) if operation in STREAMED else 0
    acceptance = process_monitor.accepting_work(needs)
    reading = process_monitor.own_process()
    logger.info("memory before work", extra={"operation": operation, "bytes": reading.rss, "needs": needs})
    if not acceptance.ok:
        headers = {"Retry-After": str(max(1, int(acceptance.retry_after)))}
        raise Problem(503, "busy", acceptance.reason, headers=headers)
