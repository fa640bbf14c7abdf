"""The setup code and the counting of wrong guesses."""

from pathlib import Path
from typing import Any

import pytest

from separation import setup


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def limit(tmp_path: Path) -> setup.GuessLimit:
    return setup.GuessLimit(tmp_path / "guesses.json", clock=Clock())


def test_every_process_of_an_instance_has_the_same_code() -> None:
    assert setup.setup_code() == setup.setup_code()


def test_another_instance_has_another_code(settings: Any) -> None:
    mine = setup.setup_code()
    settings.SECRET_KEY = "another key"
    assert setup.setup_code() != mine


def test_wrong_guesses_are_counted_over_processes(limit: setup.GuessLimit) -> None:
    for _ in range(setup.MAX_GUESSES):
        assert not limit.check("wrong")
    with pytest.raises(setup.TooManyGuesses):
        setup.GuessLimit(limit.path, clock=limit.clock).check(setup.setup_code())


def test_right_guesses_are_not_counted(limit: setup.GuessLimit) -> None:
    for _ in range(3 * setup.MAX_GUESSES):
        assert limit.check(setup.setup_code())


def test_guesses_are_forgotten_after_the_window(limit: setup.GuessLimit) -> None:
    for _ in range(setup.MAX_GUESSES):
        limit.check("wrong")
    limit.clock.now += setup.GUESS_WINDOW_SECONDS  # type: ignore[attr-defined]
    assert limit.check(setup.setup_code())


def test_the_wait_is_what_is_left_of_the_window(limit: setup.GuessLimit) -> None:
    for _ in range(setup.MAX_GUESSES):
        limit.check("wrong")
    limit.clock.now += 100  # type: ignore[attr-defined]
    with pytest.raises(setup.TooManyGuesses) as caught:
        limit.check("wrong")
    assert caught.value.retry_after == pytest.approx(setup.GUESS_WINDOW_SECONDS - 100, abs=1)


@pytest.mark.parametrize("damage", ["", "[1,", "null", '{"a": 1}', '["x"]'])
def test_a_damaged_counter_starts_again(limit: setup.GuessLimit, damage: str) -> None:
    limit.path.write_text(damage)
    assert limit.check(setup.setup_code())
