"""The figures: known values for known estimates, and song sets that never meet."""

import numpy as np
import pytest

from separation.starter import data, evaluation
from separation.starter.evaluation import evaluate, sdr, si_sdr, songs, table
from separation.starter.synthesis import STEMS
from separation.starter.synthesis.signal import Signal

SAMPLES = 4410


def noise(seed: int) -> Signal:
    return np.random.default_rng(seed).standard_normal((2, SAMPLES)).astype(np.float32)


def test_sdr_is_the_power_of_the_stem_over_the_power_of_the_error() -> None:
    stem = noise(0)
    assert sdr(0.9 * stem, stem) == pytest.approx(20.0, abs=1e-3)


def test_si_sdr_forgives_a_wrong_level_and_sdr_does_not() -> None:
    stem, error = noise(0), 0.1 * noise(1)
    assert si_sdr(0.5 * (stem + error), stem) == pytest.approx(si_sdr(stem + error, stem), abs=1e-3)
    assert sdr(0.5 * (stem + error), stem) < 7


def test_si_sdr_of_a_stem_with_a_tenth_of_foreign_noise_is_20_db() -> None:
    assert si_sdr(noise(0) + 0.1 * noise(1), noise(0)) == pytest.approx(20.0, abs=0.3)


def test_the_mixture_as_the_estimate_gains_nothing() -> None:
    stems = np.stack([noise(seed) for seed in range(4)])
    rows = evaluate(lambda mixture: np.stack([mixture] * 4), [stems])
    assert [row.stem for row in rows] == list(STEMS)
    assert [row.gain for row in rows] == pytest.approx([0.0] * 4)


def test_perfect_estimates_gain_what_the_mixture_lacks() -> None:
    stems = np.stack([noise(seed) for seed in range(4)])
    assert all(row.gain > 60 for row in evaluate(lambda _: stems, [stems]))


def test_a_stem_that_is_silent_in_a_song_is_not_counted_there() -> None:
    quiet = np.stack([noise(0), noise(1), np.zeros((2, SAMPLES), np.float32), noise(3)])
    rows = evaluate(lambda mixture: np.stack([mixture] * 4), [quiet, np.stack([noise(seed) for seed in range(4)])])
    assert {row.stem: row.songs for row in rows} == {"drums": 2, "bass": 2, "other": 1, "vocals": 2}


def test_a_gain_comes_with_the_standard_error_of_its_mean() -> None:
    stems, error = (np.stack([noise(first + stem) for stem in range(4)]) for first in (0, 4))
    levels = iter((0.1, 0.2, 0.4))  # 20, 14 and 8 dB
    rows = evaluate(lambda _: stems + next(levels) * error, [stems] * 3)
    assert [row.error for row in rows] == pytest.approx([6.02 / 3**0.5] * 4, abs=0.1)


def test_one_song_has_no_standard_error() -> None:
    stems = np.stack([noise(seed) for seed in range(4)])
    assert all(np.isnan(row.error) for row in evaluate(lambda mixture: np.stack([mixture] * 4), [stems]))


def test_the_table_names_each_stem_and_the_mean_gain() -> None:
    stems = np.stack([noise(seed) for seed in range(4)])
    text = table(evaluate(lambda mixture: np.stack([mixture] * 4), [stems]))
    assert all(stem in text for stem in STEMS)
    assert text.endswith("0.0 dB")


def test_songs_with_other_phases_keep_each_stems_spectrum() -> None:
    stems = np.stack([noise(seed) for seed in range(4)])
    (others,) = evaluation.with_other_phases([stems])
    before, after = (np.abs(np.fft.rfft(audio))[..., 1:-1] for audio in (stems, others))
    assert np.allclose(before, after, atol=1e-3 * before.max())
    assert all(not np.allclose(other, stem, atol=0.1) for other, stem in zip(others, stems, strict=True))


def test_no_song_is_in_two_sets() -> None:
    starts = sorted([data.FIRST_SEED, *(first for first, _ in evaluation.SETS.values())])
    assert min(np.diff(starts)) >= 100_000


def test_a_set_is_the_same_songs_each_time() -> None:
    assert np.array_equal(next(songs("validation", 1, 0.5)), next(songs("validation", 1, 0.5)))
