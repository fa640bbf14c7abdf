"""Loading: a model's bag and its networks, from safetensors, by demucs's own loader.

Owns what is checked before a file is trusted: only demucs's own classes are ever instantiated, and a file with a
recorded checksum must match it. Never reads a pickle. Does not download (`separation.weights`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from separation.catalog import MODELS, ModelInfo, folder, unavailable_reason, weight_files
from separation.engine.errors import EngineError
from separation.errors import ReasonCode

CLASSES = frozenset({"demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs"})
CHECKSUMS = "checksums.json"
MAX_HEADER = 64 * 1024**2


@dataclass(frozen=True)
class Bag:
    """A model as its yaml describes it: one row of source weights and one file for each network."""

    info: ModelInfo
    folder: Path
    signatures: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    segment: float | None

    @property
    def totals(self) -> list[float]:
        """The sum of the networks' weights for each source."""
        return [sum(column) for column in zip(*self.weights, strict=True)]


def open_bag(name: str, model_dir: Path) -> Bag:
    """The bag of a model whose files are all there. Raises `EngineError` (unknown_model, model_unavailable)."""
    if name not in MODELS:
        raise EngineError(ReasonCode.UNKNOWN_MODEL)
    if reason := unavailable_reason(name):
        raise EngineError(ReasonCode.MODEL_UNAVAILABLE, reason)
    missing = [path.name for path in weight_files(name, model_dir) if not path.is_file()]
    if missing:
        message = f"The weights of {name} are not here ({missing[0]} is missing). Run `manage.py fetch_model {name}`."
        raise EngineError(ReasonCode.MODEL_UNAVAILABLE, message)
    return _read_bag(MODELS[name], folder(name, model_dir))


def _read_bag(info: ModelInfo, place: Path) -> Bag:
    try:
        data = yaml.safe_load((place / f"{info.name}.yaml").read_text(encoding="utf-8"))
        signatures = tuple(str(name) for name in data["models"])
        rows = data.get("weights") or [[1.0] * len(info.sources)] * len(signatures)
        weights = tuple(tuple(float(value) for value in row) for row in rows)
        segment = float(data["segment"]) if data.get("segment") else None
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise _damaged(place / f"{info.name}.yaml") from error
    if len(weights) != len(signatures) or any(len(row) != len(info.sources) for row in weights):
        raise _damaged(place / f"{info.name}.yaml")
    return Bag(info, place, signatures, weights, segment)


def _damaged(path: Path) -> EngineError:
    message = f"The model file {path.name} is damaged. Delete it and fetch the model again."
    return EngineError(ReasonCode.MODEL_UNAVAILABLE, message)


def load_network(bag: Bag, signature: str) -> Any:
    """One network of a bag, in float32, ready to run. Raises `EngineError` (model_unavailable)."""
    path = bag.folder / f"{signature}.safetensors"
    check_file(path)
    from safetensors import SafetensorError

    try:
        network = _load(path)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path) from error
    network.eval().float()
    _check_network(bag, path, network)
    _override_segment(network, bag.segment)
    return network


def _load(path: Path) -> Any:
    import torch
    from demucs.hf import load_safetensors_model

    with _no_initialisation(), torch.no_grad():
        return load_safetensors_model(path)


DRAWN = {
    "torch.nn.init": (
        "kaiming_uniform_",
        "uniform_",
        "normal_",
        "xavier_uniform_",
        "xavier_normal_",
        "kaiming_normal_",
    ),
    "torch.nn.modules.activation": ("xavier_uniform_",),
    "demucs.htdemucs": ("rescale_module",),
    "demucs.hdemucs": ("rescale_module",),
    "demucs.demucs": ("rescale_module",),
}
"""Functions by module that draw first weights, or look at those drawn."""


@contextmanager
def _no_initialisation() -> Iterator[None]:
    """Leaves parameters as allocated while a network is built: they are about to be loaded anyway.

    Drawing 42 million random numbers took two thirds of the loading time, and measuring them half of the rest.
    """
    places = [(import_module(module), name) for module, names in DRAWN.items() for name in names]
    originals = [(module, name, getattr(module, name)) for module, name in places]
    try:
        for module, name, _ in originals:
            setattr(module, name, lambda given, *_args, **_kwargs: given)
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


def _check_network(bag: Bag, path: Path, network: Any) -> None:
    shape = (tuple(network.sources), network.audio_channels, network.samplerate)
    if shape != (bag.info.sources, bag.info.channels, bag.info.sample_rate):
        raise EngineError(
            ReasonCode.MODEL_UNAVAILABLE, f"The model file {path.name} is not a network of {bag.info.name}."
        )


def _override_segment(network: Any, segment: float | None) -> None:
    """What `demucs.apply.BagOfModels` does with a bag's segment: no transformer gets a longer one."""
    if segment is not None and (type(network).__name__ != "HTDemucs" or segment <= network.segment):
        network.segment = segment


def check_file(path: Path) -> None:
    """Raises `EngineError` (model_unavailable) unless the file's checksum and classes are as they should be."""
    expected = recorded_checksums(path.parent).get(path.name)
    if expected and _sha256(path) != expected:
        message = f"The checksum of the model file {path.name} is wrong. Delete it and fetch the model again."
        raise EngineError(ReasonCode.MODEL_UNAVAILABLE, message)
    metadata = _metadata(path)
    named = {metadata.get("klass", ""), *_classes(_json(path, metadata.get("structure", "null")))}
    if not named <= CLASSES:
        message = f"The model file {path.name} names a class that is not a network of demucs; it was not loaded."
        raise EngineError(ReasonCode.MODEL_UNAVAILABLE, message)


def recorded_checksums(place: Path) -> Mapping[str, str]:
    """sha256 by file name, as recorded when the files were fetched; empty if none were."""
    try:
        data = json.loads((place / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(place / CHECKSUMS) from error
    return data if isinstance(data, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    """The text metadata of a safetensors file: 8 bytes of length, then JSON, before any tensor."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= min(MAX_HEADER, path.stat().st_size):
            raise _damaged(path)
        header = _json(path, file.read(size).decode("utf-8", "replace"))
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise _damaged(path)
    return metadata


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _damaged(path) from error


def _classes(structure: Any) -> set[str]:
    """Every class that a packed state refers to."""
    if isinstance(structure, dict):
        own = {str(structure["_class"])} if "_class" in structure else set()
        return own.union(*map(_classes, structure.values()))
    if isinstance(structure, list):
        return set().union(*map(_classes, structure))
    return set()
