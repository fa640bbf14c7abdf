"""Why something waits, in words with numbers."""

import pytest

from memory.conf import MIB
from memory.pressure import Pressure, judge
from memory.queueing import Candidate, Charge, Room
from memory.reasons import waiting_reasons
from tests.unit.memory_admission.builders import candidate, charge

CALM = judge(20480 * MIB, 20480 * MIB)


def why(
    *candidates: Candidate,
    running: tuple[Charge, ...] = (),
    slots: int = 3,
    pressure: Pressure = CALM,
    held_for: str = "",
) -> list[str]:
    room = Room(2560 * MIB, slots, running)  # 2240 MB of it for heavy operations
    return list(waiting_reasons(candidates, room, pressure, held_for=held_for).values())


def test_what_it_needs_and_what_is_free_and_how_many_are_ahead() -> None:
    waiting = candidate("a", 1024, waited=9), candidate("b", 1024, waited=8), candidate("c", 1024)
    assert why(*waiting, running=(charge("x", 1830),))[2] == "needs 1.0 GB, 410 MB free; 2 jobs ahead"


def test_one_job_ahead_is_no_plural() -> None:
    assert why(candidate("a", 1, waited=1), candidate("b", 1))[1] == "starts when a worker is free; 1 job ahead"


@pytest.mark.parametrize(("slots", "words"), [(1, "the one place is taken"), (2, "all 2 places are taken")])
def test_full_places_are_counted(slots: int, words: str) -> None:
    running = tuple(charge(str(n), 1) for n in range(slots))
    assert why(candidate("a", 1), running=running, slots=slots) == [words]


def test_what_can_never_fit_says_what_would() -> None:
    assert why(candidate("a", 3072)) == ["needs 3.0 GB, more than the 2.2 GB that one operation can have here"]


def test_what_can_never_fit_is_ahead_of_nobody() -> None:
    assert why(candidate("a", 3072, waited=9), candidate("b", 1))[1] == "starts when a worker is free"


def test_a_short_machine_is_the_reason_for_all() -> None:
    short = judge(300 * MIB, 20480 * MIB)
    assert why(candidate("a", 1), pressure=short) == ["paused: this machine has only 300 MB of memory available"]


def test_one_that_fits_but_is_held_back_says_for_whom() -> None:
    waiting = candidate("big", 2000, waited=9), candidate("small", 1)
    reasons = why(*waiting, running=(charge("x", 1000),), held_for="big")
    assert reasons[1] == "fits, but a larger job that has waited longer goes first; 1 job ahead"
