"""What the mixture's phases allow at most."""

import numpy as np
import pytest

from separation.starter.bounds import with_the_mixtures_phases
from separation.starter.evaluation import compare, songs
from separation.starter.synthesis import RATE

STEMS = next(songs("validation", 1, 2.0))


def gains(window: int) -> list[float]:
    return [row.gain for row in compare([(with_the_mixtures_phases(STEMS, window), STEMS)])]


def test_estimates_add_up_to_the_mixture() -> None:
    estimates = with_the_mixtures_phases(STEMS, 4096)
    assert estimates.shape == STEMS.shape
    assert np.abs(estimates.sum(axis=0) - STEMS.sum(axis=0)).max() < 1e-5


def test_a_stem_alone_is_found_whole() -> None:
    alone = np.zeros_like(STEMS)
    alone[1] = STEMS[1]
    assert np.abs(with_the_mixtures_phases(alone, 1024) - alone).max() < 1e-5


def test_two_notes_that_a_short_window_takes_for_one_need_a_long_one() -> None:
    time = np.arange(2 * RATE) / RATE
    notes = np.zeros((4, 2, 2 * RATE), np.float32)
    notes[0], notes[1] = np.sin(2 * np.pi * 60 * time), np.sin(2 * np.pi * 70 * time)
    short, long = (compare([(with_the_mixtures_phases(notes, window), notes)]) for window in (2048, 16384))
    assert all(better.si_sdr > row.si_sdr + 6 for row, better in zip(short, long, strict=True))


def test_no_estimate_is_perfect_where_stems_meet() -> None:
    assert all(5 < gain < 40 for gain in gains(4096))


@pytest.mark.parametrize("window", [-4096, 0, 8, 1000])
def test_a_window_that_is_no_power_of_two_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        with_the_mixtures_phases(STEMS, window)
