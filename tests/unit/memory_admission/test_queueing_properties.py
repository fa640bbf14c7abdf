"""Whatever arrives, in whatever order: never over budget, never over the places, and all that can run does."""

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from memory.conf import MIB
from memory.queueing import Blocked, Candidate, Charge, Room, plan
from tests.unit.memory_admission.builders import EPOCH

BUDGET = 2048 * MIB


@dataclass(frozen=True)
class Job:
    arrives: int
    takes: int
    mb: int
    owner: str
    priority: int

    def candidate(self, key: str) -> Candidate:
        since = EPOCH + timedelta(seconds=self.arrives)
        return Candidate(key, self.mb * MIB, self.owner, self.priority, waiting_since=since)


jobs = st.builds(
    Job,
    arrives=st.integers(0, 200),
    takes=st.integers(1, 60),
    mb=st.integers(1, 2200),
    owner=st.sampled_from("abc"),
    priority=st.integers(0, 2),
)


@dataclass
class Simulation:
    """A host with a clock of its own; `running` maps an operation to its charge, `ends` says when it ends."""

    todo: dict[str, Job]
    slots: int
    patience: int
    clock: datetime = EPOCH
    waiting: dict[str, Candidate] = field(default_factory=dict)
    running: dict[str, Charge] = field(default_factory=dict)
    ends: list[tuple[datetime, str]] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    blocked: Blocked | None = None

    def room(self) -> Room:
        return Room(BUDGET, self.slots, tuple(self.running.values()))

    def run(self) -> None:
        arrivals = sorted((EPOCH + timedelta(seconds=job.arrives), key) for key, job in self.todo.items())
        while arrivals or self.ends:
            due = [*arrivals[:1], *self.ends[:1]]
            self.clock = min(when for when, _ in due)
            while arrivals and arrivals[0][0] == self.clock:
                _, key = arrivals.pop(0)
                self.waiting[key] = self.todo[key].candidate(key)
            while self.ends and self.ends[0][0] == self.clock:
                _, key = heapq.heappop(self.ends)
                self.finished.add(key)
                del self.running[key]
            self.admit_all()

    def admit_all(self) -> None:
        while True:
            patience = timedelta(seconds=self.patience)
            decision = plan(
                list(self.waiting.values()), self.room(), now=self.clock, patience=patience, blocked=self.blocked
            )
            self.blocked = decision.blocked
            if not decision.order:
                return
            self.start(decision.order[0])

    def start(self, chosen: Candidate) -> None:
        job = self.todo[chosen.key]
        del self.waiting[chosen.key]
        self.running[chosen.key] = Charge(chosen.key, chosen.owner, chosen.bytes, 0, heavy=True)
        heapq.heappush(self.ends, (self.clock + timedelta(seconds=job.takes), chosen.key))
        assert len(self.running) <= self.slots
        assert sum(charge.bytes for charge in self.running.values()) <= self.room().heavy_budget


@settings(max_examples=2000)
@given(st.lists(jobs, min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 120))
def test_never_over_budget_or_places_and_all_that_can_run_does(arriving: list[Job], slots: int, patience: int) -> None:
    simulation = Simulation({str(n): job for n, job in enumerate(arriving)}, slots, patience)
    simulation.run()
    possible = {key for key, job in simulation.todo.items() if job.mb * MIB <= simulation.room().heavy_budget}
    assert simulation.finished == possible


@settings(max_examples=25)
@given(st.integers(600, 1792), st.lists(st.integers(1, 900), min_size=1, max_size=6), st.integers(1, 90))
def test_an_endless_stream_of_small_jobs_holds_a_big_one_up_for_a_bounded_time(
    big: int, small: list[int], patience: int
) -> None:
    """One small job arrives every second, forever, each running 20 s: the big one starts once they drain."""
    stream = {f"s{n}": Job(n, 20, small[n % len(small)], "b", 0) for n in range(1, 160)}
    simulation = Simulation({**stream, "big": Job(0, 5, big, "a", 0)}, 4, patience)
    simulation.todo["s0"] = Job(0, 20, 1792, "c", 5)  # runs first, so that the big one has to wait
    started: list[datetime] = []
    original = simulation.start

    def note(chosen: Candidate) -> None:
        if chosen.key == "big":
            started.append(simulation.clock)
        original(chosen)

    simulation.start = note  # type: ignore[method-assign]
    simulation.run()
    assert started[0] <= EPOCH + timedelta(seconds=20 + patience + 21)
