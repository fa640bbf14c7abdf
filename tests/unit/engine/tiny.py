"""Tiny networks of Demucs's own classes, and `apply_model` with recorded offsets to compare with."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from separation.engine.lanes import Lanes
from separation.engine.networks import segment_rules
from separation.engine.shifts import draw_offsets, leads
from separation.engine.statistics import Normalisation, RunningStatistics
from separation.engine.streaming import StreamingPasses
from separation.engine.two_stems import Output, contributes, network_mixing
from separation.engine.window import SlidingWindow
from tests.benchmarks.standins import liven

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 1000
SEGMENT = Fraction(1)
SMALL = {"channels": 4, "depth": 2, "nfft": 256, "dconv_depth": 1, "dconv_comp": 2}


def transformer(seed: int = 0, **arguments: Any) -> Any:
    """An HTDemucs without transformer layers, 1 s segments at 1 kHz unless told otherwise."""
    defaults = {**SMALL, "t_layers": 0, "samplerate": RATE, "segment": SEGMENT}
    return _build(HTDemucs, seed, {**defaults, **arguments})


def hybrid(seed: int = 0, **arguments: Any) -> Any:
    """An HDemucs of the same size."""
    return _build(HDemucs, seed, {**SMALL, "depth": 4, "samplerate": RATE, "segment": SEGMENT, **arguments})


def waveform(seed: int = 0) -> Any:
    """A time-domain Demucs, which chooses its own input lengths."""
    return _build(
        Demucs,
        seed,
        {
            "channels": 4,
            "depth": 2,
            "dconv_depth": 1,
            "lstm_layers": 0,
            "samplerate": RATE,
            "segment": SEGMENT,
            "resample": False,
        },
    )


def _build(klass: type, seed: int, arguments: dict[str, Any]) -> Any:
    torch.manual_seed(seed)
    network = klass(SOURCES, **arguments).eval()
    liven(network)
    return network


def music(frames: int, seed: int = 0) -> np.ndarray:
    """Noise of shape (frames, 2) at a musical level, off-centre and with some structure."""
    rng = np.random.default_rng(seed)
    tone = 0.3 * np.sin(np.arange(frames) * 0.05)[:, None]
    return (tone + 0.2 * rng.standard_normal((frames, 2)) + 0.01).astype(np.float32)


def statistics(audio: np.ndarray) -> Normalisation:
    running = RunningStatistics()
    running.update(audio)
    return running.normalisation()


def expected(
    networks: Sequence[Any],
    weights: Sequence[Sequence[float]] | None,
    audio: np.ndarray,
    *,
    seed: int,
    segment: float | None = None,
    **options: Any,
) -> np.ndarray:
    """What `demucs.api.Separator` computes around `apply_model`: (sources, channels, frames)."""
    normalisation = statistics(audio)
    mean, std = np.float32(normalisation.mean), np.float32(normalisation.std)
    mix = torch.from_numpy((audio.T - mean) / std)
    model = BagOfModels(list(networks), [list(row) for row in weights]) if weights else networks[0]
    random.seed(seed)
    with torch.no_grad():
        out = apply_model(model, mix[None], segment=segment, **options)[0]
    return (out * std + mean).numpy()


def windows(audio: np.ndarray, size: int = 333) -> Iterator[np.ndarray]:
    """The audio in odd-sized windows, as a decoder would deliver it."""
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


def streamed(
    networks: Sequence[Any],
    weights: Sequence[Sequence[float]] | None,
    audio: np.ndarray,
    *,
    seed: int,
    shifts: int,
    overlap: float,
    segment: float | None = None,
    batch: int = 1,
    lanes: int = 1,
) -> np.ndarray:
    """The engine's result for the same: one network after the other, each over the whole track."""
    weights = weights or [[1.0] * len(SOURCES)]
    totals = [sum(column) for column in zip(*weights, strict=True)]
    outputs = [Output(name, tuple(float(i == j) for j in range(4))) for i, name in enumerate(SOURCES)]
    offsets = draw_offsets(len(networks), shifts, RATE, seed)
    normalisation = statistics(audio)
    total = np.zeros((4, 2, len(audio)), np.float32)
    for network, row, own in zip(networks, weights, offsets, strict=True):
        mixing = network_mixing(outputs, row, totals)
        if contributes(mixing):
            window = SlidingWindow(windows(audio), len(audio), 2)
            rules = segment_rules(network, overlap=overlap, segment=segment)
            passes = StreamingPasses(
                window, rules, leads(own, RATE), normalisation, mixing, run(network, lanes), batch=batch
            )
            total += joined(passes)
    return total * np.float32(normalisation.std) + np.float32(normalisation.mean)


def run(network: Any, lanes: int = 1) -> Any:
    """The network as the streaming loop calls it, on so many lanes."""

    def forward(mix: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(mix)

    def every(mixes: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        with Lanes(lanes, lanes) as opened:
            yield from opened.map(forward, mixes)

    return every


def joined(passes: StreamingPasses) -> np.ndarray:
    """All finished stretches put together; fails on a gap."""
    parts, position = [], 0
    for final in passes:
        assert final.position == position
        position += final.samples.shape[-1]
        parts.append(final.samples.numpy().copy())
    return np.concatenate(parts, axis=-1)
