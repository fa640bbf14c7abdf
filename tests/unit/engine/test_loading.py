"""Loading weights: only demucs's classes, only files whose checksum is right, and what a damaged one says."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from separation.engine.errors import EngineError
from separation.engine.loading import CHECKSUMS, load_network, open_bag
from tests.benchmarks.standins import write_standin
from tests.integration.engine.conftest import TINY

SIGNATURE = "955717e8"


@pytest.fixture
def place(tmp_path):
    return write_standin(tmp_path, "htdemucs", overrides=TINY)


def rewrite(path, **changes):
    """The same file with other metadata; None removes an entry."""
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **changes}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {key: value for key, value in metadata.items() if value is not None})


def load(place):
    return load_network(open_bag("htdemucs", place.parent), SIGNATURE)


def refused(place, match):
    with pytest.raises(EngineError, match=match) as caught:
        load(place)
    assert caught.value.code == "model_unavailable"


def test_a_network_is_loaded_in_float32_as_demucs_loads_it(place):
    from demucs.hf import load_safetensors_model

    theirs = load_safetensors_model(place / f"{SIGNATURE}.safetensors").state_dict()
    ours = load(place)
    assert not ours.training
    for name, tensor in ours.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, theirs[name])


def test_building_a_network_elsewhere_still_draws_random_weights(place):
    load(place)
    assert torch.nn.Linear(4, 4).weight.abs().sum() > 0
    assert torch.nn.Linear(4, 4).weight.std() > 0


def test_a_changed_file_fails_its_checksum(place):
    (place / CHECKSUMS).write_text(json.dumps({f"{SIGNATURE}.safetensors": "0" * 64}))
    refused(place, f"checksum of the model file {SIGNATURE}")


def test_a_class_that_is_not_demucs_own_is_never_instantiated(place):
    rewrite(place / f"{SIGNATURE}.safetensors", klass="subprocess.Popen")
    refused(place, "not a network of demucs")


def test_a_packed_state_may_not_name_other_classes(place):
    rewrite(place / f"{SIGNATURE}.safetensors", structure=json.dumps({"_dict": [["x", {"_class": "os.system"}]]}))
    refused(place, "not a network of demucs")


@pytest.mark.parametrize("missing", ["klass", "args", "kwargs"])
def test_missing_metadata_is_a_damaged_file(place, missing):
    rewrite(place / f"{SIGNATURE}.safetensors", **{missing: None})
    refused(place, "damaged|not a network")


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, b"\x10" + b"\0" * 7 + b"{}"])
def test_a_file_that_is_not_safetensors_is_damaged(place, data):
    (place / f"{SIGNATURE}.safetensors").write_bytes(data)
    refused(place, "damaged")


def test_a_truncated_file_is_damaged(place):
    path = place / f"{SIGNATURE}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(place, "damaged")


def test_another_models_network_is_refused(place):
    other = write_standin(place.parent, "htdemucs", overrides={**TINY, "sources": ["a", "b"]})
    refused(other, "not a network of htdemucs")


@pytest.mark.parametrize("bag", ["", "models: 3", "models: [a]\nweights: [[1]]", "{{{"])
def test_a_damaged_bag_is_refused(place, bag):
    (place / "htdemucs.yaml").write_text(bag)
    with pytest.raises(EngineError, match=r"damaged"):
        open_bag("htdemucs", place.parent)
