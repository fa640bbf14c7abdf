"""The starter's architecture: the hyper-parameters given to demucs's own class, and the form they are stored in.

Owns no weights and no training.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

SOURCES = ("drums", "bass", "other", "vocals")
SEGMENT = Fraction(2**17, 44100)
"""64 hops of the window below: in every layer, of both branches, time is whole vectors of 16 values. Three seconds, 65
hops, take a twentieth longer."""
FREQUENCIES = "freq_emb.embedding.weight"
ARGUMENTS: Mapping[str, Any] = {
    "sources": list(SOURCES),
    "audio_channels": 2,
    "samplerate": 44100,
    "segment": SEGMENT,
    "channels": 24,
    "channels_time": 24,
    "depth": 4,
    "nfft": 8192,
    "t_layers": 3,
    "t_heads": 6,
    "t_hidden_scale": 1.0,
    "t_norm_in": False,
    "t_norm_out": False,
    "t_weight_pos_embed": 0.1,
    "dconv_depth": 3,
    "dconv_comp": 4,
    "cac": False,
    "wiener_iters": -1,
    "end_iters": -1,
}


def build(**changes: Any) -> HTDemucs:
    """An untrained network for stereo at 44.1 kHz and four sources, 3.89 M parameters unless `changes` say so."""
    return HTDemucs(**{**ARGUMENTS, **changes})


def is_of_waveform(name: str) -> bool:
    """Whether a tensor of this name is of the branch that works on samples; the other one has spectrograms."""
    return name.startswith(("tencoder.", "tdecoder."))


def grown(spectrogram: nn.Module, waveform: nn.Module | None = None) -> HTDemucs:
    """A network that begins with what one of another size knows, or with one branch each of two, where shapes agree.

    What they lack is drawn at random. A transformer and further DConv layers are hardly heard at first, since their
    layer scales are small and no norms stand around the transformer's layers; other tensors are. Raises ValueError
    when not one matrix of a donor agrees.
    """
    network = build()
    state = network.state_dict()
    if waveform is None:
        taken = _fitting(spectrogram, state, "network")
    else:
        branch = {name: value for name, value in state.items() if is_of_waveform(name)}
        others = {name: value for name, value in state.items() if name not in branch}
        taken = _fitting(spectrogram, others, "spectrogram branch") | _fitting(waveform, branch, "waveform branch")
    network.load_state_dict(state | taken)
    return network


def _fitting(donor: nn.Module, state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """What `donor` has of the tensors of `state`, in their shapes. Raises ValueError, naming the part of the network
    that they are, when no matrix is among them."""
    known = donor.state_dict()
    if FREQUENCIES in known and FREQUENCIES in state:
        known[FREQUENCIES] = _resampled(known[FREQUENCIES], len(state[FREQUENCIES]))
    taken = {name: known[name] for name in state if name in known and known[name].shape == state[name].shape}
    if all(value.dim() < 2 for value in taken.values()):
        raise ValueError(f"The weights to begin from are of another architecture: no matrix of theirs fits the {part}")
    return taken


def _resampled(embedding: Tensor, rows: int) -> Tensor:
    """(rows before, channels) to (rows, channels): the same frequencies, by the bins of another window."""
    return nn.functional.interpolate(embedding.T[None], size=rows, mode="linear")[0].T


def metadata(arguments: Mapping[str, Any] = ARGUMENTS) -> dict[str, str]:
    """What `demucs.hf.load_safetensors_model` reads from a weights file to build the network again."""
    return {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(arguments, default=_encode)}


def _encode(value: object) -> dict[str, object]:
    if isinstance(value, Fraction):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    raise TypeError(f"{type(value).__name__} has no place in the metadata of a network")
