"""The exported weights: loaded by demucs's own form, refused when altered."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from separation.engine.errors import EngineError
from separation.starter.export import WEIGHTS, export
from separation.starter.loading import load_starter
from separation.starter.network import SOURCES, build, metadata


@pytest.fixture
def place(tmp_path):
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    return tmp_path / "weights"


def rewrite(place, metadata):
    """The same tensors with other metadata, and the checksum made to fit."""
    tensors = load_file(place / "starter.safetensors")
    save_file(tensors, place / "starter.safetensors", metadata=metadata)
    (place / "checksums.json").unlink()


def test_the_bundled_starter_loads_and_separates_four_sources():
    network = load_starter()
    assert tuple(network.sources) == SOURCES
    with torch.no_grad():
        assert network(torch.zeros(1, 2, network.valid_length(44_100))).shape[:3] == (1, 4, 2)


def test_the_bundled_weights_are_at_most_eight_megabytes():
    assert (WEIGHTS / "starter.safetensors").stat().st_size <= 8_000_000


def test_the_bundled_weights_have_a_recorded_checksum():
    assert list(json.loads((WEIGHTS / "checksums.json").read_text())) == ["starter.safetensors"]


def test_altered_weights_are_refused_by_name(place):
    path = place / "starter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(EngineError, match=r"checksum.*starter\.safetensors"):
        load_starter(place)


@pytest.mark.parametrize("missing", ["klass", "kwargs"])
def test_weights_without_their_metadata_are_refused_by_name(place, missing):
    kept = metadata()
    del kept[missing]
    rewrite(place, kept)
    with pytest.raises(EngineError, match=r"starter\.safetensors"):
        load_starter(place)


def test_a_class_that_is_not_demucs_own_is_refused(place):
    rewrite(place, {**metadata(), "klass": "subprocess.Popen"})
    with pytest.raises(EngineError, match="class that is not a network of demucs"):
        load_starter(place)


def test_exported_weights_are_the_trained_ones_in_half_precision(tmp_path):
    torch.manual_seed(3)
    network = build()
    export(network.state_dict(), tmp_path / "weights")
    loaded = load_starter(tmp_path / "weights")
    for name, value in network.state_dict().items():
        assert torch.allclose(value, loaded.state_dict()[name], atol=1e-3, rtol=1e-3), name


def test_exported_weights_can_be_read_by_whoever_serves(tmp_path):
    path = export(build().state_dict(), tmp_path / "weights")
    assert path.stat().st_mode & 0o777 == 0o644
