"""The pool of a GPU training, on the CPU: what it takes in, and the examples it makes."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from separation.starter.data import MANY, Changes, Clips
from separation.starter.pool import Dice, Pool, dispersed, filling
from separation.starter.synthesis import RATE

SAMPLES = RATE // 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    made = Clips(tmp_path_factory.mktemp("clips"), count=3, seconds=1.0, altered=True)
    made.render()
    return made


@pytest.fixture
def pool(clips: Clips) -> Pool:
    made = Pool(clips, "cpu")
    made.load()
    return made


def tones(folder: Path, seconds: float = 2.0, changes: Changes = MANY) -> Pool:
    """A pool of one clip whose stems are sines of 200, 400, 600 and 800 Hz."""
    clips = Clips(folder, count=1, seconds=seconds, changes=changes)
    time = np.arange(round(seconds * RATE)) / RATE
    waves = np.stack([np.sin(2 * np.pi * 200 * (stem + 1) * time) for stem in range(4)])
    np.save(clips.path(0), np.round(np.stack([waves, waves], axis=1) * 10_000).astype(np.int16))
    pool = Pool(clips, "cpu")
    pool.load()
    return pool


def test_the_pool_takes_in_what_has_come_since_the_last_time(tmp_path: Path, clips: Clips) -> None:
    pool = Pool(Clips(tmp_path, clips.count, clips.seconds), "cpu")
    assert (pool.load(), pool.count) == (True, 0)
    for index in (2, 0, 1):
        (tmp_path / clips.path(index).name).write_bytes(clips.path(index).read_bytes())
        assert pool.load() == (index != 1)
    assert np.array_equal(pool.songs[1], np.load(clips.path(0)))


def test_a_batch_depends_on_the_seed_and_the_step_alone(pool: Pool) -> None:
    straight = list(islice(pool.batches(2, SAMPLES, seed=3), 3))
    assert torch.equal(straight[2], next(pool.batches(2, SAMPLES, seed=3, first_step=2)))
    assert not torch.equal(straight[2], next(pool.batches(2, SAMPLES, seed=4, first_step=2)))


def test_examples_have_four_stereo_stems(pool: Pool) -> None:
    batch = next(pool.batches(5, SAMPLES, seed=1))
    assert (batch.shape, batch.dtype) == ((5, 4, 2, SAMPLES), torch.float32)


def test_crops_longer_than_the_clips_are_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="too short"):
        next(pool.batches(1, RATE, seed=0))


def test_a_cut_is_the_clip_itself_at_full_scale_one(tmp_path: Path) -> None:
    pool = tones(tmp_path)
    cut = pool._cut(torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), 7), torch.ones(1, 4), SAMPLES)
    assert torch.equal(cut[0], pool.songs[0, :, :, 7 : 7 + SAMPLES].float() / 32767)


def test_examples_without_changes_keep_the_songs_pitch_phases_and_balance(tmp_path: Path) -> None:
    pool = tones(tmp_path, changes=Changes(remixed=0, altered=0, dispersed=0, gain=0))
    for stems in next(pool.batches(8, RATE, seed=1)):
        spectra = torch.fft.rfft(stems[:, 0].double())
        heard = torch.stack([spectra[stem, 200 * (stem + 1)] for stem in range(4)])
        assert torch.allclose(heard.abs(), spectra.abs().amax(1)) and torch.allclose(heard.abs(), heard.abs()[0])
        phases = (1j * heard).angle()
        off = (phases - torch.arange(1, 5) * phases[0]).sin()  # from a common start, whatever the polarity
        assert torch.allclose(off, torch.zeros(4, dtype=off.dtype), atol=0.01)


def test_a_stem_at_another_speed_has_another_pitch(tmp_path: Path) -> None:
    pool = tones(tmp_path)
    cut = pool._cut(
        torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), 1.1), RATE
    )
    peaks = [int(np.abs(np.fft.rfft(stem[0])).argmax()) for stem in cut[0].numpy()]
    assert peaks == [220, 440, 660, 880]


def test_half_of_the_examples_are_remixes(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []

    def cut(song: torch.Tensor, _start: torch.Tensor, _ratio: torch.Tensor, samples: int) -> torch.Tensor:
        drawn.append(song)
        return torch.zeros(*song.shape, 2, samples)

    monkeypatch.setattr(pool, "_cut", cut)
    next(pool.batches(400, 10, seed=0))
    together = (drawn[0] == drawn[0][:, :1]).all(dim=1).float().mean()
    assert 0.42 < together < 0.62  # half, and the remixes whose four songs of three happen to be one


def test_gains_stay_within_their_decibels() -> None:
    gains = Dice(torch.Generator().manual_seed(0)).gains(6, -6, 1000, 4)
    assert gains.shape == (1000, 4, 1, 1)
    assert 0.5 < float(gains.min()) < 0.51 < 1.97 < float(gains.max()) < 2


def test_a_pool_has_its_songs_made_and_begins_with_them(tmp_path: Path) -> None:
    left: list[int] = []
    with filling(Clips(tmp_path, 3, 1.0), "cpu", 1, left.append, every=0.01) as pool:
        assert next(pool.batches(1, SAMPLES, seed=0)).abs().max() > 0
        assert pool.count == 3
    assert left == [2, 1, 0]


def test_songs_that_cannot_be_rendered_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("a file where the folder belongs")
    with pytest.raises(OSError, match="clips"), filling(Clips(tmp_path / "clips", 2, 1.0), "cpu", 1, every=0.01):
        pytest.fail("there are no songs")


def test_the_share_of_stems_that_is_dispersed_keeps_its_spectrum() -> None:
    torch.manual_seed(0)
    stems = 0.1 * torch.randn(40, 4, 2, 2000)
    others = dispersed(Dice(torch.Generator().manual_seed(1)), stems, 0.7)
    before, after = (torch.fft.rfft(audio).abs()[..., 1:-1] for audio in (stems, others))
    assert torch.allclose(before, after, atol=1e-3 * float(before.max()))
    kept = torch.isclose(stems, others, atol=1e-5).all(-1).all(-1).float().mean()
    assert 0.2 < kept < 0.4
