"""Training: examples by step, a loss that falls, checkpoints that continue to the same weights."""

import numpy as np
import pytest
import torch

from separation.starter.data import Clips, batches, resampled
from separation.starter.loss import separation_loss
from separation.starter.network import build
from separation.starter.training import CHECKPOINT, CheckpointError, Recipe, Trainer

RECIPE = Recipe(steps=6, batch=2, seconds=0.25, warmup=2, save_every=0.0)


def tiny():
    torch.manual_seed(0)
    return build(channels=4, channels_time=4, depth=2, nfft=512, t_layers=0, dconv_depth=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    clips = Clips(tmp_path_factory.mktemp("clips"), count=4, seconds=1.0)
    clips.render()
    return clips


def trained(recipe, clips, folder, resume=False):
    trainer = Trainer(tiny(), recipe)
    if resume:
        trainer.restore(folder / CHECKPOINT)
    losses = []
    trainer.run(clips, folder, lambda progress: losses.append(progress.loss), every=1)
    return trainer, losses


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_loss_falls_on_examples_it_sees_again(clips):
    stems = torch.from_numpy(next(batches(clips, 1, 11_025, seed=1)))
    trainer = Trainer(tiny(), Recipe(steps=1000, rate=1e-2, warmup=1))
    losses = [float(trainer.train_on(stems)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_in_parts_trains_to_the_weights_of_a_whole_one(clips):
    stems = torch.from_numpy(next(batches(clips, 3, 11_025, seed=1)))
    whole, cut = (Trainer(tiny(), Recipe(steps=10, half=False, parts=parts)) for parts in (1, 2))
    for _ in range(3):
        assert float(cut.train_on(stems)) == pytest.approx(float(whole.train_on(stems)), rel=1e-4)


def test_the_loss_ends_at_its_floor_and_has_a_value_in_silence():
    torch.manual_seed(0)
    stems = torch.randn(2, 4, 2, 1000)
    silence = torch.zeros_like(stems)
    assert -2.5 < separation_loss(stems, stems) < -2.3  # 30 dB below the mixture of four
    assert separation_loss(silence, silence) == 0


def test_a_quiet_stem_counts_more_than_its_level():
    torch.manual_seed(0)
    stems = 0.1 * torch.randn(1, 4, 2, 1000) * torch.tensor([1.0, 1.0, 1.0, 0.2])[None, :, None, None]
    nothing = separation_loss(torch.zeros_like(stems), stems)
    gains = []
    for stem in (0, 3):
        half_found = torch.zeros_like(stems)
        half_found[:, stem] = 0.5 * stems[:, stem]
        gains.append(float(nothing - separation_loss(half_found, stems)))
    assert gains[1] > 0.4 * gains[0]  # 0.2 with L1 alone


def test_emphasis_is_a_stems_part_of_the_loss():
    torch.manual_seed(0)
    stems = 0.1 * torch.randn(1, 4, 2, 1000)
    bass_found = torch.zeros_like(stems)
    bass_found[:, 1] = stems[:, 1]

    def gained(*emphasis: float) -> float:
        nothing = separation_loss(torch.zeros_like(stems), stems, emphasis)
        return float(nothing - separation_loss(bass_found, stems, emphasis))

    assert gained(1, 2, 1, 1) == pytest.approx(1.6 * gained(1, 1, 1, 1))
    assert gained(1, 0, 1, 1) == 0


def test_only_the_parts_that_are_named_learn(clips):
    stems = torch.from_numpy(next(batches(clips, 2, 11_025, seed=1)))
    trainer = Trainer(tiny(), Recipe(steps=10, warmup=1, batch=2, parts=2, only=("decoder.0", "tdecoder")))
    for _ in range(2):
        trainer.train_on(stems)
    before, after = tiny().state_dict(), trainer.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(("decoder.0.", "tdecoder.")) for name in changed)


def test_a_part_to_learn_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"no part decoder\.9"):
        Trainer(tiny(), Recipe(only=("decoder.9",)))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"minutes": -1.0}, {"batch": 0}, {"rate": 0.0}, {"warmup": 0}])
def test_a_recipe_without_an_amount_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} has to be above 0"):
        Recipe(**wrong)


@pytest.mark.parametrize("emphasis", [(0, 0, 0, 0), (1, -1, 1, 1), (1, float("nan"), 1, 1)])
def test_an_emphasis_that_is_none_is_refused(emphasis):
    with pytest.raises(ValueError, match="at least one above"):
        Recipe(emphasis=emphasis)


def test_an_interrupted_run_resumes_to_the_weights_of_an_uninterrupted_one(clips, tmp_path):
    whole, _ = trained(RECIPE, clips, tmp_path / "whole")

    class Interrupted(Exception):
        pass

    def interrupt(progress):
        if progress.step == 3:
            raise Interrupted

    cut = Trainer(tiny(), RECIPE)
    with pytest.raises(Interrupted):
        cut.run(clips, tmp_path / "cut", interrupt, every=1)
    resumed, losses = trained(RECIPE, clips, tmp_path / "cut", resume=True)

    assert len(losses) == 4  # from the checkpoint of step 2, the last whole one before the interruption
    assert same(whole.network, resumed.network)
    assert same(whole.average, resumed.average)


def test_the_learning_rate_warms_up_and_ends_near_zero():
    recipe = Recipe(rate=1e-3, warmup=10)
    assert recipe.learning_rate(0, 0.0) == pytest.approx(1e-4, rel=0.02)
    assert recipe.learning_rate(500, 0.5) == pytest.approx(5e-4, rel=0.01)
    assert recipe.learning_rate(1000, 1.0) < 2e-6


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        Trainer(tiny(), RECIPE).restore(tmp_path / CHECKPOINT)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    Trainer(tiny(), RECIPE).save(tmp_path / CHECKPOINT)
    other = Trainer(build(channels=8, channels_time=8, depth=2, nfft=512, t_layers=0), RECIPE)
    with pytest.raises(CheckpointError, match="another network"):
        other.restore(tmp_path / CHECKPOINT)


def test_a_batch_depends_on_its_seed_and_step_alone(clips):
    straight = batches(clips, 2, 11_025, seed=3)
    next(straight)
    assert np.array_equal(next(straight), next(batches(clips, 2, 11_025, seed=3, first_step=1)))


def test_clips_are_rendered_once(clips):
    before = {path: path.stat().st_mtime_ns for path in clips.folder.iterdir()}
    assert len(before) == 4
    clips.render()
    assert {path: path.stat().st_mtime_ns for path in clips.folder.iterdir()} == before


def test_crops_longer_than_the_clips_are_refused(clips):
    with pytest.raises(ValueError, match="too short"):
        clips.crop(np.random.default_rng(0), 50_000)


def test_resampling_changes_the_pitch_and_keeps_the_wave():
    tone = np.sin(2 * np.pi * 100 * np.arange(44_100) / 44_100).astype(np.float32)
    faster = resampled(np.stack([tone, tone]), 22_050)
    spectrum = np.abs(np.fft.rfft(faster[0]))
    assert np.argmax(spectrum) * 2 == 200
