"""When a host is short, and what has to go."""

from datetime import timedelta

import pytest

from memory.conf import MIB
from memory.models import Reservation
from memory.pressure import Level, judge, victim
from tests.unit.memory_admission.builders import EPOCH

TWENTY_GB = 20480 * MIB


@pytest.mark.parametrize(
    ("available_mb", "level"),
    [(20000, Level.CALM), (512, Level.CALM), (511, Level.PAUSE), (256, Level.PAUSE), (255, Level.SHED)],
)
def test_the_level_follows_what_is_available(available_mb: int, level: Level) -> None:
    assert judge(available_mb * MIB, TWENTY_GB).level is level


def test_a_small_machine_keeps_a_share_and_not_a_fixed_amount() -> None:
    assert judge(60 * MIB, 1000 * MIB).level is Level.CALM


def test_the_message_states_the_number() -> None:
    assert judge(300 * MIB, TWENTY_GB).message == "paused: this machine has only 300 MB of memory available"


def running(pk: int, mb: int, observed_mb: int, age: int) -> Reservation:
    return Reservation(
        pk=pk, bytes=mb * MIB, observed_bytes=observed_mb * MIB, created_at=EPOCH - timedelta(seconds=age)
    )


def test_the_one_most_over_its_estimate_goes() -> None:
    all_of_them = [running(1, 100, 300, 90), running(2, 1000, 1150, 5), running(3, 500, 400, 1)]
    assert victim(all_of_them) is all_of_them[0]


def test_if_all_keep_to_their_estimates_the_newest_goes() -> None:
    all_of_them = [running(1, 100, 105, 90), running(2, 1000, 900, 5)]
    assert victim(all_of_them) is all_of_them[1]


def test_with_nothing_running_nothing_goes() -> None:
    assert victim([]) is None
