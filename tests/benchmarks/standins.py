"""Random-weight networks of the real architectures and sizes, standing in for the pretrained ones.

They cost what the real ones cost in memory and time, and separate nothing. Only benchmarks and tests use them:
`python -m tests.benchmarks.standins MODEL_DIR htdemucs` puts one where `manage.py models` finds it.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from separation.catalog import MODELS

SIX = ["drums", "bass", "other", "vocals", "guitar", "piano"]
TRANSFORMER = {
    "channels": 48,
    "depth": 4,
    "dconv_mode": 3,
    "dconv_depth": 2,
    "dconv_comp": 8,
    "bottom_channels": 512,
    "t_layers": 5,
    "t_heads": 8,
    "segment": Fraction(39, 5),
}
# Arguments of the published networks, as far as they set size and cost.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "htdemucs": ("HTDemucs", TRANSFORMER),
    "htdemucs_ft": ("HTDemucs", TRANSFORMER),
    "htdemucs_6s": ("HTDemucs", {**TRANSFORMER, "sources": SIX, "bottom_channels": 0, "t_layers": 5}),
    "hdemucs_mmi": ("HDemucs", {"channels": 48, "depth": 6, "segment": 44}),
    "mdx_extra": ("HDemucs", {"channels": 48, "depth": 6, "segment": 44}),
}
MODULES = {"HTDemucs": "demucs.htdemucs", "HDemucs": "demucs.hdemucs", "Demucs": "demucs.demucs"}


def write_network(path: Path, klass: str, arguments: dict[str, Any], *, seed: int = 0, half: bool = True) -> None:
    """A safetensors file as `demucs.hf.load_safetensors_model` reads it, with seeded random weights."""
    import importlib

    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    network = getattr(importlib.import_module(MODULES[klass]), klass)(**arguments)
    liven(network)
    dtype = torch.float16 if half else torch.float32
    state = {name: tensor.to(dtype).contiguous() for name, tensor in network.state_dict().items()}
    metadata = {
        "klass": f"{MODULES[klass]}.{klass}",
        "args": "[]",
        "kwargs": json.dumps({name: _json(value) for name, value in arguments.items()}),
    }
    save_file(state, str(path), metadata)


def liven(network: Any) -> None:
    """Raise the near-zero residual scales that training starts from, so that every layer shows in the output."""
    import torch

    with torch.no_grad():
        for module in network.modules():
            if type(module).__name__ == "LayerScale":
                module.scale.fill_(0.3)


def _json(value: Any) -> Any:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    return value


def write_standin(model_dir: Path, name: str = "htdemucs", *, overrides: dict[str, Any] | None = None) -> Path:
    """All files of the model `name`, with random weights; returns their folder."""
    info = MODELS[name]
    klass, arguments = ARCHITECTURES[name]
    place = Path(model_dir) / name
    place.mkdir(parents=True, exist_ok=True)
    arguments = {"sources": list(info.sources), **arguments, **(overrides or {})}
    for number, network in enumerate(info.networks):
        write_network(place / f"{network.signature}.safetensors", klass, arguments, seed=number)
    bag: dict[str, Any] = {"models": [network.signature for network in info.networks]}
    if len(info.networks) > 1:
        bag["weights"] = [list(network.weights) for network in info.networks]
    if klass != "HTDemucs":
        bag["segment"] = info.segment_seconds
    (place / f"{name}.yaml").write_text(yaml.safe_dump(bag), encoding="utf-8")
    return place


if __name__ == "__main__":
    print(write_standin(Path(sys.argv[1]), sys.argv[2]))
