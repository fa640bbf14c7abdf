"""The loop of chores: each when it is due, and one that fails keeps no other from its turn."""

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from separation.services.housekeeping import PATIENCE_SECONDS, AfterOutage, Chore, Housekeeper

pytestmark = pytest.mark.django_db  # after each chore old connections are closed, also those of earlier tests


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def keeper(clock: Clock, *chores: Chore) -> Housekeeper:
    return Housekeeper(list(chores), clock=clock)


def test_each_chore_is_done_at_its_own_pace() -> None:
    clock, done = Clock(), []
    both = keeper(clock, Chore("a", 1, lambda: done.append("a")), Chore("b", 3, lambda: done.append("b")))
    for clock.now in (0, 1, 2, 3):
        both.turn()
    assert "".join(done) == "abaaab"


def test_a_chore_that_fails_is_tried_again_and_holds_up_no_other() -> None:
    clock, done = Clock(), []

    def fail() -> None:
        done.append("failed")
        raise OperationalError("locked")

    both = keeper(clock, Chore("a", 1, fail), Chore("b", 1, lambda: done.append("b")))
    for clock.now in (0, 1):
        both.turn()
    assert done == ["failed", "b", "failed", "b"]


def test_a_stopped_housekeeper_begins_no_further_chore() -> None:
    done: list[str] = []
    clock = Clock()
    house = keeper(clock)
    house.chores = [Chore("stop", 1, house.stop), Chore("b", 1, lambda: done.append("b"))]
    house.run()
    assert done == []


class Slow:
    """A chore that goes on until it may end."""

    def __init__(self, *, fails: bool = False) -> None:
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []
        self.fails = fails

    def __call__(self) -> None:
        self.threads.append(threading.current_thread())
        self.may_end.wait(30)
        if self.fails:
            raise OperationalError("locked")


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.may_end.set()
    for thread in slow.threads:
        thread.join()


def test_a_slow_chore_holds_up_no_other(slow: Slow) -> None:
    clock, done = Clock(), []
    both = keeper(clock, Chore("slow", 1, slow, slow=True), Chore("b", 1, lambda: done.append("b")))
    for clock.now in (0, 1):
        both.turn()
    assert (done, slow.may_end.is_set()) == (["b", "b"], False)


@pytest.mark.parametrize("fails", [False, True])
def test_a_slow_chore_is_begun_again_only_when_it_has_ended(slow: Slow, fails: bool) -> None:
    clock, slow.fails = Clock(), fails
    house = keeper(clock, Chore("slow", 1, slow, slow=True))
    for clock.now in (0, 1):
        house.turn()
    slow.may_end.set()
    house.join(30)
    assert len(slow.threads) == 1
    clock.now = 2
    house.turn()
    house.join(30)
    assert len(slow.threads) == 2


def test_a_slow_chore_that_does_not_end_is_in_the_log_every_half_hour(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    house = keeper(clock, Chore("sweeping", 1, slow, slow=True))
    for clock.now in (0, PATIENCE_SECONDS - 1, PATIENCE_SECONDS, PATIENCE_SECONDS + 1, 2 * PATIENCE_SECONDS):
        house.turn()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "sweeping has gone on for 30 minutes",
        "sweeping has gone on for 30 minutes",
    ]


def test_a_slow_chore_is_not_begun_while_there_is_nothing_to_do(slow: Slow) -> None:
    wanted = False
    clock = Clock()
    house = keeper(clock, Chore("slow", 1, slow, slow=True, wanted=lambda: wanted))
    house.turn()
    assert slow.threads == []
    wanted, clock.now = True, 1
    house.turn()
    slow.may_end.set()
    house.join(30)
    assert len(slow.threads) == 1


def test_a_housekeeper_that_is_stopped_lets_slow_chores_end() -> None:
    ended: list[str] = []
    clock = Clock()
    house = keeper(clock)

    def slow() -> None:
        time.sleep(0.3)
        ended.append("slow")

    house.chores = [Chore("slow", 1, slow, slow=True), Chore("stop", 1, house.stop)]
    house.run()
    assert ended == ["slow"]


def test_once_everything_is_done_by_the_caller() -> None:
    threads: list[threading.Thread] = []
    slow = Chore("slow", 1, lambda: threads.append(threading.current_thread()), slow=True, wanted=lambda: False)
    keeper(Clock(), slow).once()
    assert threads == [threading.current_thread()]


class Database:
    """Stands in for one with leases: its clock, and whether it answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers = True
        self.judged: list[float] = []

    def time(self) -> float:
        if not self.answers:
            raise OperationalError("server closed the connection unexpectedly")
        return self.now

    def judge(self) -> None:
        self.judged.append(self.time())

    def after_outage(self) -> AfterOutage:
        return AfterOutage(self.judge, hold=60, patience=35, now=self.time)

    def passes(self, chore: AfterOutage, *moments: float) -> list[float]:
        """What is judged in passes at these moments."""
        self.judged = []
        for self.now in moments:
            if self.answers:
                chore()
            else:
                with pytest.raises(OperationalError):
                    chore()
        return self.judged


@pytest.fixture
def database() -> Database:
    return Database()


def test_leases_are_judged_in_each_pass_of_a_database_that_answers(database: Database) -> None:
    assert database.passes(database.after_outage(), 1000, 1005, 1039) == [1000, 1005, 1039]


def test_leases_are_not_judged_right_after_an_outage(database: Database) -> None:
    chore = database.after_outage()
    database.passes(chore, 1000)
    database.answers = False
    database.passes(chore, 1005, 1050)
    database.answers = True
    assert database.passes(chore, 1055, 1085, 1114, 1116) == [1116]


def test_an_outage_while_judging_is_held_back_counts_again(database: Database) -> None:
    chore = database.after_outage()
    database.passes(chore, 1000, 1100)
    database.answers = False
    database.passes(chore, 1105, 1155)
    database.answers = True
    assert database.passes(chore, 1162, 1190, 1221, 1223) == [1223]


def test_an_outage_from_before_the_start_counts(database: Database) -> None:
    chore = database.after_outage()
    database.answers = False
    database.passes(chore, 1000)
    database.answers = True
    assert database.passes(chore, 1005, 1035, 1066) == [1066]


def test_leases_are_not_judged_right_after_the_machine_slept_or_the_clock_was_set(database: Database) -> None:
    chore = database.after_outage()
    database.passes(chore, 5, 10)
    assert database.passes(chore, 3600, 3630, 3661) == [3661]
    assert database.passes(chore, 1000, 1030, 1061) == [1061]


def test_a_short_outage_holds_nothing_back(database: Database) -> None:
    chore = database.after_outage()
    database.passes(chore, 1000)
    database.answers = False
    database.passes(chore, 1005, 1010)
    database.answers = True
    assert database.passes(chore, 1015) == [1015]
