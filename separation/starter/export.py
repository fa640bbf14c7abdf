"""Weights in the form that is shipped: safetensors in half precision, the bag's yaml, the checksums.

Owns the files of `weights/`. The engine loads them (`separation.engine.loading`) like those of any other model.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from separation.starter.network import metadata

NAME = "starter"
WEIGHTS = Path(__file__).resolve().parent / "weights"


def export(state: Mapping[str, torch.Tensor], folder: Path = WEIGHTS) -> Path:
    """Write `state` (a network's state dict) to `folder` as the starter model; returns the weights' path.

    Half precision keeps 72 dB to the float32 network's output and halves the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.safetensors"
    half = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    save_file(half, str(path), metadata=metadata())
    path.chmod(0o644)  # safetensors writes for its own user alone; who installs weights may not be who serves
    (folder / f"{NAME}.yaml").write_text(f"models: ['{NAME}']\n")
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "checksums.json").write_text(json.dumps(checksums, indent=2) + "\n")
    return path
