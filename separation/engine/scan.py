"""The first reading of a file: how long it is and how loud, without keeping any of it.

No torch, so that it runs while torch is being imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from separation.engine.decode import Decoder, Source
from separation.engine.plan import Plan
from separation.engine.probe import stream_shape
from separation.engine.statistics import Normalisation, RunningStatistics


@dataclass(frozen=True)
class Scan:
    """What the second reading needs to know. `frames` at the model's sample rate."""

    source: Source
    frames: int
    normalisation: Normalisation
    truncated: bool


def scan(plan: Plan, sample_rate: int, channels: int, on_frames: Callable[[int], None]) -> Scan:
    """Read the plan's input once, saying after each block how many frames there were.

    Raises `EngineError` for all that cannot be read or is too long.
    """
    shape = stream_shape(plan.input, plan.ffmpeg)
    longest = plan.max_duration_seconds
    source = Source(plan.input, plan.ffmpeg, shape.channels, sample_rate, channels, longest, shape.speakers)
    statistics = RunningStatistics()
    with Decoder(source, read_ahead=0) as decoder:
        for block in decoder:
            statistics.update(block)
            on_frames(decoder.frames)
    return Scan(source, decoder.frames, statistics.normalisation(), decoder.truncated)
