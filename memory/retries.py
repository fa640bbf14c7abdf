"""Running a short transaction again when the database was busy. Owns which errors mean "busy"."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection, transaction

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.02
# PostgreSQL: serialization failure, deadlock, lock not available. https://www.postgresql.org/docs/current/errcodes-appendix.html
BUSY_SQLSTATES = frozenset({"40001", "40P01", "55P03"})


def is_busy(error: OperationalError) -> bool:
    """Whether the same transaction may well succeed a moment later."""
    if getattr(error.__cause__, "sqlstate", None) in BUSY_SQLSTATES:
        return True
    text = str(error)
    return "database is locked" in text or "database table is locked" in text


def retry_busy(
    transaction: Callable[[], Result], *, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Run `transaction` up to `attempts` times, with random, growing pauses while the database is busy.

    Inside a transaction of the caller's it runs once: only the whole of that could be repeated.

    Raises:
        OperationalError: still busy after the last attempt, or something else is wrong.
    """
    for attempt in range(1, attempts):
        try:
            return transaction()
        except OperationalError as error:
            if connection.in_atomic_block or not is_busy(error):
                raise
            logger.info("database busy, attempt %d of %d", attempt, attempts)
            sleep(random.uniform(0.5, 1.5) * FIRST_PAUSE_SECONDS * 2**attempt)
    return transaction()


def atomically(work: Callable[[], Result]) -> Result:
    """`work` in a transaction of its own, tried again while the database is busy. Raises as `retry_busy` does."""

    def transact() -> Result:
        with transaction.atomic():
            return work()

    return retry_busy(transact)
