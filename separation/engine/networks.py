"""One network and its rules: how long its segments are, and what input length it wants for a shorter one.

The rules are those `demucs.apply.apply_model` applies to each of Demucs's network classes. Does not load weights
(`loading`), place networks on devices (`device`), or cut a track into segments (`streaming`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from separation.engine.errors import EngineError
from separation.errors import ReasonCode


@dataclass(frozen=True)
class SegmentRules:
    """Lengths in samples. `fixed` is the input length of every segment, None where `network` decides."""

    segment: int
    stride: int
    fixed: int | None
    network: Any = None

    def input_length(self, length: int) -> int:
        """How long the input must be for a segment of `length` samples; at least `length`."""
        if self.fixed is not None:
            return self.fixed
        if self.network is not None:
            return int(self.network.valid_length(length))
        return length

    @property
    def longest_input(self) -> int:
        """The longest input any segment needs."""
        return max(self.segment, self.input_length(self.segment))


def is_transformer(network: Any) -> bool:
    """Whether the network is an HTDemucs, the class whose segments have a ceiling."""
    return type(network).__name__ == "HTDemucs"


def segment_rules(network: Any, *, overlap: float, segment: float | None = None) -> SegmentRules:
    """The rules for a network with an optional override of its segment, in seconds.

    Raises `EngineError` (invalid_option) naming the ceiling when the override passes it.
    """
    own: float | Fraction = network.segment
    if segment is not None and is_transformer(network) and segment > float(own):
        message = (
            f"This model takes segments of at most {float(own):g} s; {segment:g} s is longer than it was trained for."
        )
        raise EngineError(ReasonCode.INVALID_OPTION, message)
    chosen = own if segment is None else segment
    length = int(network.samplerate * chosen)
    stride = int((1 - overlap) * length)
    if stride < 1:
        raise EngineError(ReasonCode.INVALID_OPTION, f"An overlap of {overlap:g} leaves nothing to move on by.")
    fixed, chooser = _input_rule(network, segment)
    return SegmentRules(length, stride, fixed, chooser)


def _input_rule(network: Any, segment: float | None) -> tuple[int | None, Any]:
    if is_transformer(network):
        if segment is not None:
            return int(segment * network.samplerate), None
        if network.use_train_segment:
            return int(network.segment * network.samplerate), None
        return None, None
    return None, network if hasattr(network, "valid_length") else None
