"""Who goes next: pure functions from what waits and what runs to a decision. No clock, database or process.

Fairness: fewest operations of the same owner running, then priority, then age. If the first in that order does
not fit, smaller ones behind it may go (backfill), until it has been held up long enough; from then on nothing
overtakes it, so that running operations drain and it fits.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from memory.conf import MIB

LIGHT_SHARE_MIN, LIGHT_SHARE_MAX = 192 * MIB, 512 * MIB


@dataclass(frozen=True)
class Candidate:
    """Something that waits. `bytes` is its estimate; higher `priority` goes first; `limit`, `label` are for show."""

    key: str
    bytes: int
    owner: str = ""
    priority: int = 0
    waiting_since: datetime = field(kw_only=True)
    label: str = ""
    limit: int = 0


@dataclass(frozen=True)
class Charge:
    """What one running operation counts for: max(reserved, observed), bytes."""

    key: str
    owner: str
    reserved: int
    observed: int
    heavy: bool

    @property
    def bytes(self) -> int:
        return max(self.reserved, self.observed)

    @property
    def growth(self) -> int:
        """What it was promised and has not taken yet."""
        return max(0, self.reserved - self.observed)


def light_share(budget: int) -> int:
    """The part of a budget that heavy operations leave to short, small ones, so that neither starves the other."""
    return min(max(budget // 8, LIGHT_SHARE_MIN), LIGHT_SHARE_MAX, budget // 2)


@dataclass(frozen=True)
class Room:
    """A host's budget, what runs on it, and what is left. Sizes in bytes.

    `available` is what the machine can really give now, less a safety floor; None if it cannot be told.
    `busy_elsewhere` names the owner of each heavy operation on other hosts.
    """

    budget: int
    slots: int
    running: tuple[Charge, ...] = ()
    available: int | None = None
    busy_elsewhere: tuple[str, ...] = ()

    @property
    def heavy_budget(self) -> int:
        return self.budget - light_share(self.budget)

    @property
    def heavy_running(self) -> int:
        return sum(charge.heavy for charge in self.running)

    @property
    def free_slots(self) -> int:
        return max(0, self.slots - self.heavy_running)

    @property
    def free_heavy(self) -> int:
        """For one more heavy operation."""
        heavy = sum(charge.bytes for charge in self.running if charge.heavy)
        return max(0, min(self.heavy_budget - heavy, self._free() - self._kept_for_light()))

    def free_light(self, *, drained_for_heavy: bool) -> int:
        """For one more light operation; while a heavy one is waited for, light ones keep to their share."""
        most = light_share(self.budget) if drained_for_heavy else self.budget
        return max(0, min(most - self._light(), self._free()))

    def _light(self) -> int:
        return sum(charge.bytes for charge in self.running if not charge.heavy)

    def _kept_for_light(self) -> int:
        return max(0, light_share(self.budget) - self._light())

    def _free(self) -> int:
        in_budget = self.budget - sum(charge.bytes for charge in self.running)
        return in_budget if self.available is None else min(in_budget, self._unclaimed(self.available))

    def _unclaimed(self, available: int) -> int:
        return available - sum(charge.growth for charge in self.running)

    def fits(self, candidate: Candidate) -> bool:
        return self.free_slots > 0 and candidate.bytes <= self.free_heavy

    def can_ever_fit(self, size: int) -> bool:
        """Whether it would fit on this host with nothing else running and memory to spare."""
        return size <= self.heavy_budget

    def draining_helps(self, candidate: Candidate) -> bool:
        """Whether it would fit now if everything that runs ended; if not, holding others back is in vain."""
        if not any(charge.heavy for charge in self.running):
            return False
        if self.available is None:
            return True
        given_back = sum(charge.observed for charge in self.running)
        return candidate.bytes <= self.available + given_back - light_share(self.budget)


@dataclass(frozen=True)
class Blocked:
    """The waiting operation that was first in order and did not fit, and since when."""

    key: str
    since: datetime


@dataclass(frozen=True)
class Plan:
    """Whom to try, in order, and whom the host is held up for."""

    order: tuple[Candidate, ...]
    blocked: Blocked | None


def running_by_owner(room: Room) -> Mapping[str, int]:
    return Counter([*(charge.owner for charge in room.running if charge.heavy), *room.busy_elsewhere])


def turn(candidate: Candidate, busy: Mapping[str, int]) -> tuple[int, int, datetime, str]:
    """What the order goes by, lowest first: fewest running of the same owner (`busy`), then highest priority, then
    longest waiting, then key."""
    return busy.get(candidate.owner, 0), -candidate.priority, candidate.waiting_since, candidate.key


def in_order(candidates: Sequence[Candidate], room: Room) -> list[Candidate]:
    """The candidates in the order in which they take their turn."""
    busy = running_by_owner(room)
    return sorted(candidates, key=lambda candidate: turn(candidate, busy))


def plan(
    candidates: Sequence[Candidate], room: Room, *, now: datetime, patience: timedelta, blocked: Blocked | None
) -> Plan:
    """Whom to admit next on this host: the first of `order` that its holder still wants.

    `blocked` is what an earlier plan returned; keep the new one. Those that can never fit here are left out.
    """
    possible = [c for c in in_order(candidates, room) if room.can_ever_fit(c.bytes)]
    blocked = _still_blocked(possible, room, blocked, now)
    patient = blocked is None or now - blocked.since < patience
    return Plan(tuple(_admissible(possible, room, patient=patient)), blocked)


def _still_blocked(ordered: Sequence[Candidate], room: Room, blocked: Blocked | None, now: datetime) -> Blocked | None:
    """Keeps the one already held up while it waits; else the head, if memory (not a slot) is what it lacks."""
    waiting = {candidate.key: candidate for candidate in ordered}
    if blocked is not None and blocked.key in waiting and not room.fits(waiting[blocked.key]):
        return blocked
    head = ordered[0] if ordered else None
    if head is None or room.free_slots == 0 or room.fits(head):
        return None
    return Blocked(head.key, now)


def _admissible(ordered: Sequence[Candidate], room: Room, *, patient: bool) -> Iterator[Candidate]:
    for candidate in ordered:
        if room.fits(candidate):
            yield candidate
        elif not patient and room.draining_helps(candidate):
            return
