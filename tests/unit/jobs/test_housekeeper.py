"""The loop of chores: each when it is due, and one that fails keeps no other from its turn."""

from django.db import OperationalError

from separation.services.housekeeping import AfterSleep, Chore, Housekeeper


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


def test_leases_are_not_judged_right_after_the_machine_slept() -> None:
    wall, clock, done = Clock(), Clock(), []
    chore = AfterSleep(lambda: done.append(clock.now), hold=60, wall=wall, clock=clock)
    for wall.now, clock.now in ((5, 5), (3600, 10), (3640, 50), (3661, 71), (3666, 76)):
        chore()
    assert done == [5, 71, 76]
