"""The chores of a host, and the loop that does each when it is due.

Owns their pace; each chore is another module's. One that fails for want of the database or the disk is tried again
at its next turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from memory.registration import register_process
from memory.sampling import Sampler
from separation import ledger
from separation.api.idempotency import forget_old as forget_answers
from separation.services.numbers import number
from separation.services.reaping import reap, sweep_staging, wake_if_needed
from separation.services.retention import clean_up
from separation.services.watchdog import Watchdog
from separation.uploads.housekeeping import expire_uploads
from separation.webhooks.services import deliver_in_background
from separation.webhooks.services import forget_old as forget_deliveries

logger = logging.getLogger(__name__)

LONGEST_NAP_SECONDS = 1.0
CLEANUP_SECONDS = 3600.0
WATCHDOG_SECONDS = 5.0
WEBHOOK_SECONDS = 2.0
UPLOAD_SECONDS = 60.0


@dataclass
class Chore:
    """Something done every `every` seconds; `due` is on the loop's clock."""

    name: str
    every: float
    do: Callable[[], object]
    due: float = 0.0


class Housekeeper:
    """Does its chores when they are due, until told to stop."""

    def __init__(
        self,
        chores: list[Chore],
        *,
        clock: Callable[[], float] = time.monotonic,
        nap: Callable[[float], object] | None = None,
    ) -> None:
        self.chores = chores
        self._clock = clock
        self._stopped = threading.Event()
        self._nap = nap or self._stopped.wait

    def stop(self, *_: object) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            self.turn()
            self._nap(self._until_next())

    def turn(self) -> None:
        """Do what is due now."""
        for chore in self.chores:
            if self._clock() >= chore.due and not self._stopped.is_set():
                chore.due = self._clock() + chore.every
                _attempt(chore)

    def _until_next(self) -> float:
        nearest = min((chore.due for chore in self.chores), default=0.0) - self._clock()
        return min(max(nearest, 0.0), LONGEST_NAP_SECONDS)


def database_time() -> float:
    """Seconds, by the database's clock. Raises `DatabaseError` when it does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        now = cursor.fetchone()[0]
    return (now if isinstance(now, datetime) else datetime.fromisoformat(f"{now}+00:00")).timestamp()


class AfterOutage:
    """Holds a chore back for `hold` seconds once no pass has come through for `patience`: leases ran out meanwhile
    whose holders could not renew them either, and will now.

    Told by the database's clock, by which leases run out, so that an outage, a sleep of the machine and a clock that
    was set all show.
    """

    def __init__(
        self,
        do: Callable[[], object],
        *,
        hold: float,
        patience: float,
        now: Callable[[], float] = database_time,
    ) -> None:
        self._do, self._hold, self._patience, self._now = do, hold, patience, now
        self._passed: float | None = None
        self._until = 0.0

    def __call__(self) -> None:
        try:
            self._pass(self._now())
        except DatabaseError:
            self._passed = self._passed or 0.0  # an outage that was there at the start may have lasted for long
            raise

    def _pass(self, now: float) -> None:
        since = 0.0 if self._passed is None else now - self._passed
        if not 0 <= since <= self._patience:
            logger.warning("leases could not be renewed for a time; they are judged again in %g s", self._hold)
            self._until = now + self._hold
        if now >= self._until:
            self._do()
        self._passed = now


def _attempt(chore: Chore) -> None:
    try:
        chore.do()
    except (DatabaseError, OSError):
        logger.exception("%s failed; it is tried again in %g s", chore.name, chore.every)
    finally:
        close_old_connections()


def default_chores() -> list[Chore]:
    """Everything this host needs done now and again, with its interval in seconds."""
    watchdog, sampler = Watchdog(), Sampler()
    often, lease = number("REAP_INTERVAL_SECONDS"), number("JOB_LEASE_SECONDS")
    return [
        Chore("reaping", often, AfterOutage(reap, hold=lease, patience=often + lease / 2)),
        Chore("sweeping", often, sweep_staging),
        Chore("waking workers", often, wake_if_needed),
        Chore("memory sampling", LONGEST_NAP_SECONDS, sampler.tick),
        Chore("registering", number("MEMORY_CHECK_INTERVAL"), lambda: register_process("reaper")),
        Chore("watching the worker cluster", WATCHDOG_SECONDS, watchdog.check),
        Chore("delivering webhooks", WEBHOOK_SECONDS, deliver_in_background),
        Chore("ending uploads", UPLOAD_SECONDS, expire_uploads),
        Chore("cleaning up", CLEANUP_SECONDS, clean_up),
        Chore("forgetting submissions", CLEANUP_SECONDS, ledger.forget_old),
        Chore("forgetting answers", CLEANUP_SECONDS, forget_answers),
        Chore("forgetting deliveries", CLEANUP_SECONDS, forget_deliveries),
    ]
