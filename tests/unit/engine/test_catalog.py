"""The catalogue: what is ready, which networks run, and estimates that do not depend on length."""

import dataclasses

import pytest
import yaml

from separation import catalog
from separation.options import SeparationOptions


def options(**data):
    return SeparationOptions.parse(data)


def fill(name, model_dir):
    for path in catalog.weight_files(name, model_dir):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_model_is_ready_once_all_its_files_are_there(tmp_path):
    assert not catalog.is_ready("htdemucs_ft", tmp_path)
    fill("htdemucs_ft", tmp_path)
    assert catalog.is_ready("htdemucs_ft", tmp_path)
    catalog.weight_files("htdemucs_ft", tmp_path)[-1].unlink()
    assert not catalog.is_ready("htdemucs_ft", tmp_path)


def test_the_default_is_htdemucs_as_soon_as_it_is_ready(tmp_path):
    assert catalog.default_model(tmp_path) == "starter"
    fill("htdemucs", tmp_path)
    assert catalog.default_model(tmp_path) == "htdemucs"


def test_an_unknown_model_is_never_ready(tmp_path):
    assert not catalog.is_ready("../htdemucs", tmp_path)


def test_a_quantised_model_without_its_package_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "diffq" in catalog.unavailable_reason("mdx_extra_q")


@pytest.mark.parametrize("name", [name for name in catalog.MODELS if name != "starter"])
def test_bags_are_those_that_demucs_ships(name):
    from importlib.resources import files

    bag = yaml.safe_load((files("demucs") / "remote" / f"{name}.yaml").read_text())
    info = catalog.MODELS[name]
    assert [network.signature for network in info.networks] == bag["models"]
    rows = bag.get("weights") or [[1.0] * len(info.sources)] * len(bag["models"])
    assert [list(network.weights) for network in info.networks] == rows


@pytest.mark.parametrize(
    ("model", "wanted", "count"),
    [
        ("htdemucs_ft", {"two_stems": "vocals"}, 1),
        ("htdemucs_ft", {"stems": ["drums", "bass"]}, 2),
        ("htdemucs_ft", {}, 4),
        ("mdx", {"stems": ["other"]}, 2),
        ("mdx_extra", {"two_stems": "vocals"}, 4),
        ("htdemucs", {"stems": ["bass"]}, 1),
    ],
)
def test_networks_that_contribute_nothing_are_not_counted(model, wanted, count):
    chosen = options(model=model, **wanted)
    info = catalog.MODELS[model]
    assert len(info.networks_for(chosen.stems, chosen.two_stems)) == count


def test_leaner_steps_never_need_more_memory():
    for name in catalog.MODELS:
        chosen = options(model=name)
        needs = [catalog.default_bytes(chosen, lean) for lean in range(len(catalog.lean_steps(name)) + 2)]
        assert needs == sorted(needs, reverse=True)


def test_a_lean_step_shortens_the_segment_only_where_that_saves_something():
    assert catalog.lean_settings("htdemucs", 2, threads=4, segment=None).segment is None
    assert catalog.lean_settings("mdx_extra", 2, threads=4, segment=None).segment == 22
    assert catalog.lean_settings("mdx_extra", 3, threads=4, segment=None) == catalog.LeanSettings(1, 11, 0)


def test_only_the_small_model_is_computed_in_lanes_and_not_when_lean():
    lanes = {name: catalog.lean_settings(name, 0, threads=8, segment=None).lanes for name in catalog.MODELS}
    assert lanes.pop(catalog.STARTER) == 2
    assert set(lanes.values()) == {1}
    assert catalog.lean_settings(catalog.STARTER, 1, threads=8, segment=None).lanes == 1


def test_expected_time_grows_with_length_shifts_and_networks():
    base = catalog.expected_seconds(options(model="htdemucs"), 180)
    assert catalog.expected_seconds(options(model="htdemucs"), 360) > base
    assert catalog.expected_seconds(options(model="htdemucs", shifts=3), 180) > base
    assert catalog.expected_seconds(options(model="htdemucs_ft"), 180) > base


def test_disk_for_rescaled_stems_counts_the_staged_samples():
    rescaled = catalog.disk_bytes(options(model="htdemucs", clip_mode="rescale"), 60)
    clamped = catalog.disk_bytes(options(model="htdemucs", clip_mode="clamp"), 60)
    assert rescaled - clamped == 4 * 60 * 44100 * 8


def test_model_facts_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalog.MODELS["htdemucs"].megabytes = 1
