"""The commands from end to end, at the smallest size that still does everything."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import torch
from django.core.management import CommandError, call_command

from separation.starter import health
from separation.starter.export import WEIGHTS, export
from separation.starter.loading import load_starter

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def parameters(weights: Path) -> torch.Tensor:
    return torch.cat([value.flatten() for value in load_starter(weights).parameters()])


def test_training_goes_on_from_its_checkpoint_and_its_weights_can_be_measured(tmp_path):
    options = ("--out", str(tmp_path), "--clips", "2", "--batch", "1", "--seconds", "0.5")
    run("train_starter", "--steps", "1", *options)
    printed = run("train_starter", "--steps", "10", "--resume", *options)
    assert "step 10" in printed and "100 %" in printed

    table = run(
        *("evaluate_starter", "--weights", str(tmp_path / "weights"), "--songs", "1", "--seconds", "2"),
        *("--set", "validation"),
    )
    assert "validation: 1 songs of 2 s" in table
    assert [line.split()[0] for line in table.splitlines()[2:6]] == ["drums", "bass", "other", "vocals"]


def test_as_a_program_training_starts_itself_again_in_the_engines_environment(tmp_path):
    notes = "import os\nopen(os.environ['NOTES'], 'a').write(os.environ.get('OMP_WAIT_POLICY', 'unset') + ' ')\n"
    (tmp_path / "sitecustomize.py").write_text(notes)  # every interpreter runs this as it starts
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": str(tmp_path), "NOTES": str(tmp_path / "notes"), "DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "manage.py", "train_starter", "--out", str(tmp_path), "--steps", "1", "--clips", "2"]
    done = subprocess.run(
        [*command, "--batch", "1", "--seconds", "0.5"], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "notes").read_text().split()[:2] == ["unset", "passive"]
    assert "Wrote" in done.stdout


def test_resuming_without_a_checkpoint_says_which_file_is_missing(tmp_path):
    with pytest.raises(CommandError, match=r"checkpoint\.pt"):
        run("train_starter", "--out", str(tmp_path), "--resume", "--steps", "1")


def test_training_begins_from_weights_that_are_there(tmp_path):
    options = ("--out", str(tmp_path), "--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1")
    run("train_starter", "--from", str(WEIGHTS), *options)
    kept, went_on = load_starter(), load_starter(tmp_path / "weights")
    pairs = zip(kept.parameters(), went_on.parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 0.01


def test_few_changes_make_other_examples_of_the_same_songs(tmp_path):
    options = ("--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1", "--from", str(WEIGHTS))
    clips, trained = [], []
    for name, more in (("many", ()), ("again", ()), ("few", ("--few-changes",))):
        run("train_starter", "--out", str(tmp_path / name), *options, *more)
        trained.append(parameters(tmp_path / name / "weights"))
        clips.append([path.read_bytes() for path in sorted((tmp_path / name / "clips").iterdir())])
    assert clips[0] == clips[1] == clips[2]
    assert torch.equal(trained[0], trained[1]) and not torch.equal(trained[0], trained[2])


def test_a_stem_can_be_given_more_weight_in_training(tmp_path):
    options = ("--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1", "--from", str(WEIGHTS))
    trained = []
    for name, more in (("even", ()), ("bass", ("--emphasis", "1", "2", "1", "1"))):
        run("train_starter", "--out", str(tmp_path / name), *options, *more)
        trained.append(parameters(tmp_path / name / "weights"))
    assert not torch.equal(*trained)


def test_a_part_of_the_weights_can_be_drawn_anew(tmp_path):
    options = ("--out", str(tmp_path), "--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1")
    run("train_starter", "--from", str(WEIGHTS), "--redraw", "encoder.3", *options)
    pairs = zip(load_starter().named_parameters(), load_starter(tmp_path / "weights").parameters(), strict=True)
    far = {name for (name, before), after in pairs if (before - after).abs().max() > 0.05}
    assert far and all(name.startswith("encoder.3.") for name in far)


@pytest.fixture
def shut(tmp_path):
    """The folder of weights whose innermost decoder's gates let nothing through."""
    network = load_starter()
    gates = network.decoder[0].rewrite
    with torch.no_grad():
        gates.bias[gates.out_channels // 2 :] = -1e4
    export(network.state_dict(), tmp_path / "shut")
    return tmp_path / "shut"


def test_training_says_before_and_after_where_nothing_is_learnt(tmp_path, shut):
    options = ("--out", str(tmp_path), "--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1")
    printed = run("train_starter", "--from", str(shut), *options)
    assert printed.count("Nothing is learnt in decoder.0:") == 2


def test_a_resumed_training_says_it_of_the_checkpoints_weights(tmp_path, shut):
    options = ("--out", str(tmp_path), "--clips", "2", "--batch", "1", "--seconds", "0.5")
    run("train_starter", "--from", str(shut), "--steps", "1", *options)
    printed = run("train_starter", "--resume", "--steps", "2", *options)
    assert printed.index("Nothing is learnt in decoder.0:") < printed.index("Wrote")
    assert printed.count("Nothing is learnt in decoder.0:") == 2


def test_where_gradients_in_bfloat16_are_others_training_is_in_float32_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "AGREEMENT", 1.1)
    options = ("--clips", "2", "--batch", "1", "--seconds", "0.5", "--steps", "1", "--from", str(WEIGHTS))
    fallen_back = run("train_starter", "--out", str(tmp_path / "a"), *options)
    asked_for = run("train_starter", "--out", str(tmp_path / "b"), "--float32", *options)
    assert "Training in float32" in fallen_back and "Training in float32" not in asked_for
    assert torch.equal(parameters(tmp_path / "a" / "weights"), parameters(tmp_path / "b" / "weights"))


@pytest.mark.parametrize("wrong", [("--steps", "0"), ("--batch", "0"), ("--emphasis", "0", "0", "0", "0")])
def test_a_recipe_that_cannot_be_is_refused_before_songs_are_made(tmp_path, wrong):
    with pytest.raises(CommandError, match="above"):
        run("train_starter", "--out", str(tmp_path), *wrong)
    assert list(tmp_path.iterdir()) == []


def test_the_bound_of_a_window_needs_no_network():
    options = ("--set", "validation", "--songs", "1", "--seconds", "2", "--bound")
    table = run("evaluate_starter", *options, "4096", "--weights", "/nowhere")
    assert "validation: 1 songs of 2 s, bound with a window of 4096" in table
    for wrong in ("1000", "0"):
        with pytest.raises(CommandError, match="power of two"):
            run("evaluate_starter", *options, wrong)


def test_training_from_weights_that_are_not_there_says_which_file_is_missing(tmp_path):
    with pytest.raises(CommandError, match=r"starter"):
        run("train_starter", "--from", str(tmp_path / "none"), "--out", str(tmp_path), "--steps", "1")


def test_measuring_a_folder_without_stems_says_what_is_missing(tmp_path):
    with pytest.raises(CommandError, match=r"drums\.wav"):
        run("evaluate_starter", "--folder", str(tmp_path))


def test_training_on_a_device_that_is_not_there_says_so_before_it_makes_songs(tmp_path):
    with pytest.raises(CommandError, match="no device"):
        run("train_starter", "--device", "tpu", "--out", str(tmp_path), "--steps", "1")
    assert list(tmp_path.iterdir()) == []
