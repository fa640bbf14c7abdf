"""Songs from seeds: the same each time, sound, and with nothing in them that is not music."""

from itertools import pairwise

import numpy as np
import pytest

from separation.starter.synthesis import RATE, STEMS, TRAINING, WITHHELD, Palette, bass, synthesise, vocals
from separation.starter.synthesis.harmony import make_plan
from separation.starter.synthesis.signal import Signal, hertz, oscillate, partials

SECONDS = 4.0


@pytest.fixture(scope="module")
def song() -> Signal:
    return synthesise(7, SECONDS, full=True)


def test_a_seed_gives_the_same_song_each_time(song: Signal) -> None:
    assert np.array_equal(song, synthesise(7, SECONDS, full=True))


def test_another_seed_gives_another_song(song: Signal) -> None:
    assert not np.allclose(song, synthesise(8, SECONDS, full=True), atol=1e-3)


def test_a_song_is_four_stereo_stems_of_the_length_asked_for(song: Signal) -> None:
    assert song.shape == (len(STEMS), 2, round(SECONDS * RATE))
    assert song.dtype == np.float32


def test_every_stem_of_a_full_song_is_audible(song: Signal) -> None:
    decibels = 20 * np.log10(np.sqrt((song**2).mean(axis=(1, 2))))
    assert (decibels > -45).all()


@pytest.mark.parametrize("palette", [TRAINING, WITHHELD], ids=["training", "withheld"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_songs_are_finite_free_of_dc_and_within_full_scale(seed: int, palette: Palette) -> None:
    stems = synthesise(seed, 2.0, palette)
    assert np.isfinite(stems).all()
    assert np.abs(stems.mean(axis=2)).max() < 1e-4
    assert np.abs(stems.sum(axis=0)).max() <= 0.9501


def test_withheld_instruments_and_voices_are_in_no_training_song() -> None:
    for family in ("kicks", "snares", "cymbals", "basses", "others"):
        assert not set(getattr(TRAINING, family)) & set(getattr(WITHHELD, family))
    ranges = sorted((*TRAINING.formants, *WITHHELD.formants))
    assert all(high < low for (_, high), (low, _) in pairwise(ranges))


def test_the_bass_has_its_power_below_the_voice(song: Signal) -> None:
    power = np.abs(np.fft.rfft(song.mean(axis=1))) ** 2
    frequency = np.fft.rfftfreq(song.shape[2], 1 / RATE)
    centre = (power * frequency).sum(axis=1) / power.sum(axis=1)
    assert centre[STEMS.index("bass")] < centre[STEMS.index("vocals")]


def test_bass_lines_reach_down_to_a_bass_guitars_low_strings() -> None:
    lowest = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        line = bass.render(rng, make_plan(rng, SECONDS, full=True), TRAINING).mean(axis=0)
        power = np.abs(np.fft.rfft(line)) ** 2
        lowest.append(np.fft.rfftfreq(len(line), 1 / RATE)[power > 0.1 * power.max()][0])
    assert min(lowest) < 55
    assert 70 < max(lowest) < 160


def test_voices_have_a_part_of_their_power_above_800_hertz() -> None:
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        line = vocals.render(rng, make_plan(rng, SECONDS, full=True), TRAINING).mean(axis=0)
        power = np.abs(np.fft.rfft(line)) ** 2
        shares.append(power[np.fft.rfftfreq(len(line), 1 / RATE) > 800].sum() / power.sum())
    assert 0.08 < np.median(shares) < 0.5


def test_partials_are_the_sum_of_their_cosines() -> None:
    frequency, amplitude, decay, phase = (
        np.array([440.0, 990.0]),
        np.array([1.0, 0.5]),
        np.array([2.0, 5.0]),
        np.zeros(2),
    )
    time = np.arange(int(0.1 * RATE)) / RATE
    expected = sum(
        a * np.exp(-d * time) * np.cos(2 * np.pi * f * time)
        for f, a, d in zip(frequency, amplitude, decay, strict=True)
    )
    assert np.allclose(partials(0.1, frequency, amplitude, decay, phase), expected, atol=1e-4)


def test_an_oscillator_sounds_at_its_pitch() -> None:
    wave = oscillate(np.full(RATE, float(hertz(69)), np.float32), np.array([1.0, 0.3]))
    assert int(np.abs(np.fft.rfft(wave)).argmax()) == 440
