"""The chores of a host, and the loop that does each when it is due.

Owns their pace, and the threads of those that may take long; each chore is another module's. One that fails for want
of the database or the disk is tried again at its next turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, connections

from memory.registration import register_process
from memory.sampling import Sampler
from separation import ledger
from separation.api.idempotency import forget_old as forget_answers
from separation.services import staging
from separation.services.numbers import number
from separation.services.reaping import reap, sweep_staging, wake_if_needed
from separation.services.retention import clean_up
from separation.services.threads import begin
from separation.services.watchdog import Watchdog
from separation.uploads.housekeeping import expire_uploads
from separation.webhooks.services import deliver_all, is_due
from separation.webhooks.services import forget_old as forget_deliveries

logger = logging.getLogger(__name__)

LONGEST_NAP_SECONDS = 1.0
CLEANUP_SECONDS = 3600.0
WATCHDOG_SECONDS = 5.0
WEBHOOK_SECONDS = 2.0
UPLOAD_SECONDS = 60.0
STOP_SECONDS = 5.0
PATIENCE_SECONDS = 1800.0


@dataclass
class Chore:
    """Something done every `every` seconds; `due` is on the loop's clock.

    What reads, sends or lists files, or waits for somebody, is `slow`: a thread does it, which is begun when there is
    something `wanted` and the last one has ended. One that does not end is logged from `overdue` on.
    """

    name: str
    every: float
    do: Callable[[], object]
    due: float = 0.0
    slow: bool = False
    overdue: float = 0.0
    wanted: Callable[[], bool] = lambda: True


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
        self._threads: dict[str, threading.Thread] = {}

    def stop(self, *_: object) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            self.turn()
            self._nap(self._until_next())
        self.join(STOP_SECONDS)

    def turn(self) -> None:
        """Do what is due now, and begin what is slow."""
        for chore in self.chores:
            if self._clock() >= chore.due and not self._stopped.is_set():
                chore.due = self._clock() + chore.every
                _attempt(chore, partial(self._begin, chore) if chore.slow else chore.do)

    def once(self) -> None:
        """Do everything now, one after the other."""
        for chore in self.chores:
            _attempt(chore, chore.do)

    def join(self, seconds: float) -> None:
        """Give slow chores this long to end. What is cut off is put right after the next start, as after a crash."""
        deadline = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _begin(self, chore: Chore) -> None:
        last = self._threads.get(chore.name)
        if last is not None and last.is_alive():
            self._complain(chore)
        elif chore.wanted():
            self._threads[chore.name] = begin(chore.name, _work, chore)
            chore.overdue = self._clock() + PATIENCE_SECONDS

    def _complain(self, chore: Chore) -> None:
        if self._clock() >= chore.overdue:
            minutes = PATIENCE_SECONDS / 60
            logger.warning("%s has gone on for %d minutes; see whether storage and network answer", chore.name, minutes)
            chore.overdue = self._clock() + PATIENCE_SECONDS

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


def _work(chore: Chore) -> None:
    """A slow chore's thread."""
    try:
        _attempt(chore, chore.do)
    finally:
        connections.close_all()


def _attempt(chore: Chore, do: Callable[[], object]) -> None:
    try:
        do()
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
        Chore("waking workers", often, wake_if_needed),
        Chore("memory sampling", LONGEST_NAP_SECONDS, sampler.tick),
        Chore("registering", number("MEMORY_CHECK_INTERVAL"), lambda: register_process("reaper")),
        Chore("watching the worker cluster", WATCHDOG_SECONDS, watchdog.check),
        Chore("sweeping", often, sweep_staging, slow=True, wanted=staging.is_abandoned),
        Chore("delivering webhooks", WEBHOOK_SECONDS, deliver_all, slow=True, wanted=is_due),
        Chore("ending uploads", UPLOAD_SECONDS, expire_uploads, slow=True),
        Chore("cleaning up", CLEANUP_SECONDS, clean_up, slow=True),
        Chore("forgetting submissions", CLEANUP_SECONDS, ledger.forget_old),
        Chore("forgetting answers", CLEANUP_SECONDS, forget_answers),
        Chore("forgetting deliveries", CLEANUP_SECONDS, forget_deliveries),
    ]
