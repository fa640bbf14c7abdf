"""Training examples: rendered once, drawn the same way from the same seed and step."""

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from separation.starter.data import Changes, Clips, altered, batches, dispersed, example, resampled, varied
from separation.starter.synthesis import RATE, synthesise

SAMPLES = RATE // 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    made = Clips(tmp_path_factory.mktemp("clips"), count=2, seconds=1.0)
    made.render()
    return made


def test_clips_are_the_songs_of_their_seeds(clips: Clips) -> None:
    kept = np.load(clips.path(1)).astype(np.float32) / 32767
    assert np.allclose(kept, synthesise(clips.first + 1, clips.seconds), atol=1 / 32767)


def test_only_missing_clips_are_rendered(tmp_path: Path) -> None:
    clips = Clips(tmp_path, count=2, seconds=0.5)
    np.save(clips.path(0), np.zeros((4, 2, 10), np.int16))
    left: list[int] = []
    clips.render(left.append)
    assert left == [0]
    assert np.load(clips.path(0)).shape == (4, 2, 10)


def test_rendering_leaves_nothing_but_clips(clips: Clips) -> None:
    assert sorted(clips.folder.iterdir()) == [clips.path(0), clips.path(1)]


def test_clips_rendered_in_processes_are_those_rendered_in_one(clips: Clips, tmp_path: Path) -> None:
    left: list[int] = []
    others = Clips(tmp_path, clips.count, clips.seconds)
    others.render(left.append, workers=2)
    assert left == [1, 0]
    for index in range(2):
        ours, theirs = (np.load(made.path(index)).astype(np.int32) for made in (clips, others))
        assert np.abs(ours - theirs).max() <= 1  # another number of threads rounds matrix products differently


def test_rendering_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stopped = threading.Event()
    clips = Clips(tmp_path, count=3, seconds=0.5)
    clips.render(lambda _left: stopped.set(), stopped=stopped)
    assert clips.missing() == [1, 2]


def test_clips_may_have_stems_altered_once_and_for_all(clips: Clips, tmp_path: Path) -> None:
    changes = Changes(altered=1)
    every = Clips(tmp_path, 1, clips.seconds, changes=changes, altered=True)
    every.render()
    plain, changed = np.load(clips.path(0)), np.load(every.path(0))
    assert all(not np.array_equal(a, b) for a, b in zip(plain, changed, strict=True) if a.any())
    again = Clips(tmp_path / "again", 1, clips.seconds, changes=changes, altered=True)
    again.render()
    assert np.array_equal(np.load(again.path(0)), changed)


def test_a_batch_depends_on_the_seed_and_the_step_alone(clips: Clips) -> None:
    first = list(islice(batches(clips, 2, SAMPLES, seed=3), 3))
    assert np.array_equal(first[2], next(batches(clips, 2, SAMPLES, seed=3, first_step=2)))
    assert not np.array_equal(first[2], next(batches(clips, 2, SAMPLES, seed=4, first_step=2)))


def test_an_example_has_four_stereo_stems(clips: Clips) -> None:
    for seed in range(6):
        stems = example(np.random.default_rng(seed), clips, SAMPLES)
        assert (stems.shape, stems.dtype) == ((4, 2, SAMPLES), np.float32)


def test_an_example_without_changes_is_a_song_but_for_polarity_sides_and_level(clips: Clips) -> None:
    plain = Clips(clips.folder, 1, clips.seconds, changes=Changes(remixed=0, altered=0, dispersed=0, gain=0))
    for seed in range(6):
        stems = np.abs(example(np.random.default_rng(seed), plain, RATE))
        song = np.abs(plain.crop(np.random.default_rng(0), RATE))
        level = stems.max() / song.max()
        assert any(np.allclose(stems, level * sides, atol=1e-6) for sides in (song, song[:, ::-1]))


def test_a_stem_at_another_speed_still_fills_the_example(clips: Clips) -> None:
    assert {varied(np.random.default_rng(seed), clips, 0, SAMPLES).shape for seed in range(8)} == {(2, SAMPLES)}


def test_stretching_moves_the_pitch() -> None:
    time = np.arange(RATE) / RATE
    tone = np.stack([np.sin(2 * np.pi * 400 * time)] * 2).astype(np.float32)
    half = resampled(tone, RATE // 2)
    assert int(np.abs(np.fft.rfft(half[0])).argmax()) * 2 == 800


def test_crops_longer_than_the_clips_are_refused(clips: Clips) -> None:
    with pytest.raises(ValueError, match="too short"):
        clips.crop(np.random.default_rng(0), 2 * RATE)


def test_an_altered_stem_is_the_same_length_and_another_sound(clips: Clips) -> None:
    stem = clips.crop(np.random.default_rng(0), SAMPLES)[0]
    for seed in range(8):
        other = altered(np.random.default_rng(seed), stem)
        assert (other.shape, other.dtype) == (stem.shape, np.float32)
        assert np.isfinite(other).all()
        assert not np.allclose(other, stem, atol=1e-4)


def test_altering_leaves_silence_silent() -> None:
    silence = np.zeros((2, SAMPLES), np.float32)
    assert all(not altered(np.random.default_rng(seed), silence).any() for seed in range(8))


def test_a_dispersed_stem_has_the_same_spectrum_and_other_phases(clips: Clips) -> None:
    stem = clips.crop(np.random.default_rng(0), SAMPLES)[0]
    other = dispersed(np.random.default_rng(1), stem)
    assert (other.shape, other.dtype) == (stem.shape, np.float32)
    before, after = (np.abs(np.fft.rfft(audio))[:, 1:-1] for audio in (stem, other))
    assert np.allclose(before, after, atol=1e-3 * before.max())
    assert np.abs(other - stem).max() > 0.1 * np.abs(stem).max()


def test_a_dispersed_stem_is_late_by_no_more_than_its_longest_delay() -> None:
    click = np.zeros((2, RATE), np.float32)
    click[:, RATE // 2] = 1
    for seed in range(5):
        power = dispersed(np.random.default_rng(seed), click)[0] ** 2
        middle = float((power * np.arange(RATE)).sum() / power.sum()) - RATE / 2
        assert -1 < middle < 0.02 * RATE
