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

from django.db import DatabaseError, close_old_connections

from memory.registration import register_process
from memory.sampling import Sampler
from separation import ledger
from separation.api.idempotency import forget_old as forget_answers
from separation.services.numbers import number
from separation.services.reaping import reap
from separation.services.retention import clean_up
from separation.services.watchdog import Watchdog
from separation.uploads.housekeeping import expire_uploads
from separation.webhooks.services import deliver_in_background
from separation.webhooks.services import forget_old as forget_deliveries

logger = logging.getLogger(__name__)

LONGEST_NAP_SECONDS = 1.0
CLEANUP_SECONDS = 3600.0
SLEEP_SECONDS = 10.0
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


class AfterSleep:
    """Holds a chore back for `hold` seconds once the machine has slept: leases ran out meanwhile whose holders
    could not renew them, and will now. Sleep shows as wall-clock time in which the monotonic clock stood still."""

    def __init__(
        self,
        do: Callable[[], object],
        *,
        hold: float,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._do, self._hold, self._wall, self._clock = do, hold, wall, clock
        self._offset = wall() - clock()
        self._until = clock()

    def __call__(self) -> None:
        offset = self._wall() - self._clock()
        if offset - self._offset > SLEEP_SECONDS:
            logger.info("the machine slept for %.0f s", offset - self._offset)
            self._until = self._clock() + self._hold
        self._offset = offset
        if self._clock() >= self._until:
            self._do()


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
    return [
        Chore("reaping", number("REAP_INTERVAL_SECONDS"), AfterSleep(reap, hold=number("JOB_LEASE_SECONDS"))),
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
