"""Admission: memory and places promised to operations, atomically, across all processes of a host.

Owns reservations. Decides nothing itself: who goes next is `queueing.py`, when the host is short `pressure.py`.
Every admission is one transaction whose first statement updates the host's row, so SQLite and PostgreSQL both let
one admission in at a time; what is read after it is what counts.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from django.db import OperationalError, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from memory import reasons
from memory.conf import MemorySettings, is_light, memory_settings
from memory.incidents import record_incident
from memory.models import Host, IncidentKind, Reservation
from memory.monitor import MemoryMonitor
from memory.pressure import SILENT_AFTER, Level, Pressure, judge, victim
from memory.queueing import Blocked, Candidate, Room, light_share, plan
from memory.retries import atomically, is_busy
from memory.rooms import budget_of, has_workers, largest_elsewhere, largest_share, room_of
from memory.samples import record_operation

logger = logging.getLogger(__name__)

DRAINING_SEEN = timedelta(minutes=1)
"""A head of the queue that no admission has met for this long has gone, and holds nobody back."""


class HostMemory(Protocol):
    """The part of a host reading that admission uses, bytes."""

    @property
    def effective_limit(self) -> int: ...
    @property
    def available(self) -> int: ...


class HostProbe(Protocol):
    def host(self) -> HostMemory: ...


class NotAdmitted(Exception):
    """The operation may not start now. `retry_after` is in seconds; if `can_never_fit`, trying again is in vain."""

    def __init__(self, reason: str, *, retry_after: int = 5, can_never_fit: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.can_never_fit = can_never_fit


@dataclass(frozen=True)
class _Turn:
    """What one admission sees, all of it read after the host's row was locked."""

    host: Host
    now: datetime
    room: Room
    pressure: Pressure


class ConcurrentOperationLimiter:
    """Reservations on one host (HOST_NAME unless told otherwise). Cheap to make; safe to share between threads."""

    def __init__(
        self,
        *,
        host: str | None = None,
        probe: HostProbe | None = None,
        settings: Callable[[], MemorySettings] = memory_settings,
    ) -> None:
        self._settings = settings
        self._host = host
        self._probe: HostProbe = probe or MemoryMonitor()

    # --- admission

    def claim(
        self,
        candidates: Sequence[Candidate],
        *,
        kind: str,
        lease_seconds: float,
        on_admit: Callable[[Candidate, Reservation], bool],
    ) -> Reservation | None:
        """Admit the one of `candidates` whose turn it is, if any fits.

        `on_admit` runs inside the transaction and makes the admission the caller's own fact, by a conditional
        update; if it returns False, nothing has happened and the next candidate is tried. What it raises undoes
        everything. None means: none fits now, or the database stayed busy.
        """
        if not candidates:
            return None
        try:
            return atomically(lambda: self._claim(candidates, kind, lease_seconds, on_admit))
        except OperationalError as error:
            if not is_busy(error):
                raise
            logger.warning("claim given up: the database stayed busy")
            return None

    def _claim(
        self,
        candidates: Sequence[Candidate],
        kind: str,
        lease_seconds: float,
        on_admit: Callable[[Candidate, Reservation], bool],
    ) -> Reservation | None:
        turn = self._take_turn()
        if turn.pressure.level is not Level.CALM:
            return None
        decision = plan(candidates, turn.room, now=turn.now, patience=self._patience(), blocked=_blocked_on(turn.host))
        self._remember_blocked(turn, decision.blocked)
        for candidate in decision.order:
            reservation = self._admit(turn, candidate, kind, lease_seconds, on_admit)
            if reservation is not None:
                return reservation
        return None

    def _admit(
        self,
        turn: _Turn,
        candidate: Candidate,
        kind: str,
        lease_seconds: float,
        on_admit: Callable[[Candidate, Reservation], bool],
    ) -> Reservation | None:
        with transaction.atomic():
            reservation = _create(turn, candidate, kind, lease_seconds)
            if on_admit(candidate, reservation):
                return reservation
            transaction.set_rollback(True)
        return None

    def reserve(
        self,
        *,
        kind: str,
        key: str,
        bytes: int,
        owner: str = "",
        lease_seconds: float,
        label: str = "",
        limit: int = 0,
    ) -> Reservation:
        """Reserve at once, without a queue: for light operations, or a heavy one that a person waits for.

        Raises:
            NotAdmitted: it does not fit now (or ever), with the numbers.
        """
        wanted = Candidate(key, bytes, owner, waiting_since=timezone.now(), label=label, limit=limit)
        try:
            return atomically(lambda: self._reserve(wanted, kind, lease_seconds))
        except OperationalError as error:
            if not is_busy(error):
                raise
            raise NotAdmitted("the database is busy", retry_after=2) from error

    def _reserve(self, wanted: Candidate, kind: str, lease_seconds: float) -> Reservation:
        turn = self._take_turn()
        self._refuse_if_full(turn, wanted, light=is_light(kind))
        return _create(turn, wanted, kind, lease_seconds)

    @contextmanager
    def admitted(
        self,
        *,
        kind: str,
        key: str,
        bytes: int,
        owner: str = "",
        lease_seconds: float,
        label: str = "",
        limit: int = 0,
    ) -> Iterator[Reservation]:
        """`reserve` on entry, `release` on exit. Raises NotAdmitted as `reserve` does."""
        reservation = self.reserve(
            kind=kind, key=key, bytes=bytes, owner=owner, lease_seconds=lease_seconds, label=label, limit=limit
        )
        try:
            yield reservation
        finally:
            self.release(reservation.pk)

    def _refuse_if_full(self, turn: _Turn, wanted: Candidate, *, light: bool) -> None:
        room, drained = turn.room, self._is_drained(turn)
        most = room.budget if light else min(room.heavy_budget, self._settings().process_memory_limit)
        if wanted.bytes > most:
            raise NotAdmitted(reasons.too_big(wanted.bytes, most), retry_after=0, can_never_fit=True)
        if turn.pressure.level is not Level.CALM:
            raise NotAdmitted(turn.pressure.message, retry_after=10)
        if not light and room.free_slots == 0:
            raise NotAdmitted(reasons.places_taken(room), retry_after=10)
        if not light and drained:
            raise NotAdmitted("a job that has waited for long is next", retry_after=10)
        free = room.free_light(drained_for_heavy=drained) if light else room.free_heavy
        if wanted.bytes > free:
            raise NotAdmitted(reasons.needs(wanted.bytes, free), retry_after=5)

    def _is_drained(self, turn: _Turn) -> bool:
        """Whether the host is being emptied for a job that was held up for long enough, and still waits."""
        blocked, seen = _blocked_on(turn.host), turn.host.blocked_seen
        if blocked is None or seen is None or turn.now - seen > DRAINING_SEEN:
            return False
        return turn.now - blocked.since >= self._patience()

    # --- while it runs, and after

    def renew(self, reservation_id: int, *, observed_bytes: int) -> bool:
        """Report what an operation uses and keep its reservation for another term of its lease.

        One whose lease ran out counts again, although somebody else may have been admitted meanwhile: an operation
        that reports lives, and holds its memory (the machine slept, or the database was away). False: it was released.
        """
        renewed = atomically(lambda: _renew(reservation_id, observed_bytes))
        if renewed:
            record_operation(reservation_id, every=self._settings().memory_check_interval)
        return renewed

    def release(self, reservation_id: int, *, peak_bytes: int = 0) -> None:
        """Give a reservation back; again, or for one that ran out, it does nothing. Keeps the peak on record."""
        held = Reservation.objects.filter(pk=reservation_id, released_at=None)
        atomically(lambda: held.update(released_at=Now(), peak_bytes=Greatest(F("peak_bytes"), peak_bytes)))

    def expire(self) -> int:
        """Release what lost holders of any host still hold; returns how many. They stopped counting already."""
        return sum(self._expire(reservation) for reservation in Reservation.objects.lost())

    def _expire(self, reservation: Reservation) -> bool:
        lost = Reservation.objects.lost().filter(pk=reservation.pk)
        if atomically(lambda: lost.update(released_at=Now(), expired=True)) != 1:
            return False
        record_incident(
            IncidentKind.LEASE_LOST,
            operation_kind=reservation.kind,
            operation_key=reservation.key,
            limit_bytes=reservation.limit_bytes or None,
            peak_bytes=reservation.observed_bytes,
            message=f"{reservation.label or reservation.key}: its holder was not heard of; its memory is given back",
            host=reservation.host_id,
        )
        return True

    # --- questions

    def budget(self) -> int:
        """Bytes that all operations of this host may hold together."""
        return budget_of(self.host_name, self._probe.host().effective_limit, self._settings())

    def heavy_budget(self) -> int:
        """The part of the budget that heavy operations may hold; the rest is for light ones."""
        budget = self.budget()
        return budget - light_share(budget)

    def can_ever_fit(self, bytes: int) -> bool:
        """Whether a heavy operation of this size fits on some host that runs them, with nothing else running there."""
        return bytes <= self.largest_operation()

    def largest_operation(self) -> int:
        """Bytes of the largest heavy operation that a host with workers can admit; while none has any, a live host."""
        return min(largest_share(self.host_name, self.heavy_budget()), self._settings().process_memory_limit)

    def waiting_reasons(self, candidates: Sequence[Candidate]) -> dict[str, str]:
        """Why each candidate has not been admitted yet, by key, in words with numbers. Changes nothing.

        Speaks of the host where each will run: this one; if this one has no workers, or is too small for it, the
        largest other that has workers, as it was last seen.
        """
        other = largest_elsewhere(self.host_name)
        if other is not None and not has_workers(self.host_name):
            return self._reasons_seen(candidates, other)
        room = self.room()
        blocked = Host.objects.filter(name=self.host_name).values_list("blocked_key", flat=True).first()
        here = reasons.waiting_reasons(candidates, room, self.pressure(), held_for=blocked or "")
        too_big = {one.key for one in candidates if not room.can_ever_fit(one.bytes)}
        if other is None or not too_big or other.heavy_bytes <= room.heavy_budget:
            return here
        there = self._reasons_seen(candidates, other)
        return {key: there[key] if key in too_big else why for key, why in here.items()}

    def _reasons_seen(self, candidates: Sequence[Candidate], host: Host) -> dict[str, str]:
        pressure = judge(host.available_bytes, host.effective_bytes)
        return reasons.waiting_reasons(candidates, self._room_seen(host), pressure, held_for=host.blocked_key)

    def room(self) -> Room:
        """The budget, what runs against it, and what is left, now."""
        reading = self._probe.host()
        return self._room(reading, budget_of(self.host_name, reading.effective_limit, self._settings()))

    # --- host pressure

    def pressure(self) -> Pressure:
        """Whether this host is so short of memory that admission pauses, or an operation must end."""
        reading = self._probe.host()
        return judge(reading.available, reading.effective_limit)

    def choose_victim(self) -> Reservation | None:
        """The operation to end so that the host survives: the most over its estimate, else the newest; None if calm.

        Every process that asks gets the same answer until that operation is gone. Only those count of which an end
        gives memory back: whose holder reported lately, and that it holds some (not while files are moved).
        """
        if self.pressure().level is not Level.SHED:
            return None
        held = Reservation.objects.held().filter(host_id=self.host_name, heavy=True)
        return victim(held.filter(observed_bytes__gt=0, renewed_at__gt=Now() - SILENT_AFTER))

    # --- the host's row

    @property
    def host_name(self) -> str:
        return self._host or self._settings().host_name

    def _take_turn(self) -> _Turn:
        """Locks the host's row by updating it; everything else is read afterwards."""
        reading, name = self._probe.host(), self.host_name
        self._touch_host(reading)
        host = Host.objects.get(name=name)
        budget = budget_of(name, reading.effective_limit, self._settings())
        if budget != host.budget_bytes:
            Host.objects.filter(pk=name).update(budget_bytes=budget, heavy_bytes=budget - light_share(budget))
        pressure = judge(reading.available, reading.effective_limit)
        return _Turn(host, host.last_seen, self._room(reading, budget), pressure)

    def _touch_host(self, reading: HostMemory) -> None:
        row = Host.objects.filter(name=self.host_name)
        seen = {"available_bytes": reading.available, "effective_bytes": reading.effective_limit}
        while not row.update(version=F("version") + 1, last_seen=Now(), **seen):
            Host.objects.bulk_create([Host(name=self.host_name)], ignore_conflicts=True)

    def _room(self, reading: HostMemory, budget: int) -> Room:
        return room_of(
            self.host_name,
            budget=budget,
            effective=reading.effective_limit,
            available=reading.available,
            slots=self._settings().max_concurrent_operations,
        )

    def _room_seen(self, host: Host) -> Room:
        return room_of(
            host.name,
            budget=host.budget_bytes,
            effective=host.effective_bytes,
            available=host.available_bytes,
            slots=self._settings().max_concurrent_operations,
        )

    def _patience(self) -> timedelta:
        return timedelta(seconds=self._settings().backfill_seconds)

    def _remember_blocked(self, turn: _Turn, blocked: Blocked | None) -> None:
        if blocked is None and turn.host.blocked_since is None:
            return
        Host.objects.filter(pk=turn.host.pk).update(
            blocked_key=blocked.key if blocked else "",
            blocked_since=blocked.since if blocked else None,
            blocked_seen=turn.now if blocked else None,
        )


def _renew(reservation_id: int, observed: int) -> bool:
    unreleased = Reservation.objects.filter(Q(released_at=None) | Q(expired=True), pk=reservation_id)
    lease_seconds = unreleased.values_list("lease_seconds", flat=True).first()
    if lease_seconds is None:
        return False
    return bool(
        unreleased.update(
            released_at=None,
            expired=False,
            observed_bytes=observed,
            peak_bytes=Greatest(F("peak_bytes"), observed),
            renewed_at=Now(),
            expires_at=Now() + timedelta(seconds=lease_seconds),
        )
    )


def _create(turn: _Turn, candidate: Candidate, kind: str, lease_seconds: float) -> Reservation:
    return Reservation.objects.create(
        host=turn.host,
        kind=kind,
        heavy=not is_light(kind),
        key=candidate.key,
        label=candidate.label[:255],
        owner=candidate.owner,
        bytes=candidate.bytes,
        limit_bytes=candidate.limit,
        created_at=turn.now,
        lease_seconds=lease_seconds,
        expires_at=turn.now + timedelta(seconds=lease_seconds),
    )


def _blocked_on(host: Host) -> Blocked | None:
    return Blocked(host.blocked_key, host.blocked_since) if host.blocked_since else None


__all__ = [
    "Candidate",
    "ConcurrentOperationLimiter",
    "HostMemory",
    "HostProbe",
    "Level",
    "NotAdmitted",
    "Pressure",
]
