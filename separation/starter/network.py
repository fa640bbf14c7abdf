"""The starter's architecture: the hyper-parameters given to demucs's own class, and the form they are stored in.

Owns no weights and no training.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from demucs.htdemucs import HTDemucs

SOURCES = ("drums", "bass", "other", "vocals")
SEGMENT = Fraction(3)
ARGUMENTS: Mapping[str, Any] = {
    "sources": list(SOURCES),
    "audio_channels": 2,
    "samplerate": 44100,
    "segment": SEGMENT,
    "channels": 24,
    "channels_time": 8,
    "depth": 4,
    "t_layers": 0,
    "dconv_depth": 3,
    "dconv_comp": 4,
    "cac": False,
    "wiener_iters": -1,
    "end_iters": -1,
}


def build(**changes: Any) -> HTDemucs:
    """An untrained network for stereo at 44.1 kHz and four sources, 1.69 M parameters unless `changes` say so."""
    return HTDemucs(**{**ARGUMENTS, **changes})


def metadata(arguments: Mapping[str, Any] = ARGUMENTS) -> dict[str, str]:
    """What `demucs.hf.load_safetensors_model` reads from a weights file to build the network again."""
    return {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(arguments, default=_encode)}


def _encode(value: object) -> dict[str, object]:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    raise TypeError(f"{type(value).__name__} has no place in the metadata of a network")
