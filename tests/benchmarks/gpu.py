"""The engine's passes beside Demucs's `apply_model` on a GPU: an htdemucs of random weights, no files, one process.

Without a GPU it says so and ends; `--device cpu` runs the same on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from demucs.apply import apply_model

from separation.catalog import MODELS
from separation.engine.device import Executor, allow_tf32, configure_cpu, fitting_batch, open_boundary
from separation.engine.networks import segment_rules
from separation.engine.statistics import Normalisation
from separation.engine.streaming import StreamingPasses
from separation.engine.window import SlidingWindow
from tests.benchmarks.measure import table
from tests.benchmarks.standins import ARCHITECTURES

RATE, BLOCK = 44_100, 65_536
SOURCES = ["drums", "bass", "other", "vocals"]


def network() -> Any:
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    return HTDemucs(**{"sources": SOURCES, "segment": Fraction(39, 5), **ARCHITECTURES["htdemucs"][1]}).eval()


def noise(seconds: float) -> np.ndarray:
    """(2, samples), of mean 0 and deviation 1, as the engine and Demucs give it to a network."""
    audio = np.random.default_rng(0).standard_normal((2, round(seconds * RATE)), dtype=np.float32)
    return audio / audio.mean(axis=0).std()


def demucs(model: Any, audio: np.ndarray, device: str) -> torch.Tensor:
    with torch.no_grad():
        stems: torch.Tensor = apply_model(model, torch.from_numpy(audio)[None], shifts=0, overlap=0.25, device=device)
    return stems[0].cpu()


def engine(model: Any, audio: np.ndarray, device: str, batch: int) -> torch.Tensor:
    samples = audio.shape[1]
    executor = Executor(model, open_boundary(device), batch)
    blocks = (np.ascontiguousarray(audio[:, at : at + BLOCK].T) for at in range(0, samples, BLOCK))
    window = SlidingWindow(blocks, samples, 2)
    rules = segment_rules(model, overlap=0.25, segment=None)
    each = [[float(row == source) for source in range(4)] for row in range(4)]

    def run(mixes: Any) -> Iterator[torch.Tensor]:
        return map(executor, mixes)

    passes = StreamingPasses(window, rules, [0], Normalisation(0.0, 1.0), each, run, batch=batch)
    return torch.cat([final.samples.clone() for final in passes], dim=-1)


def measured(work: Callable[[], torch.Tensor], device: str) -> tuple[torch.Tensor, float, float]:
    """The stems, the seconds of the quicker of two runs, and the MB of the GPU's memory at most."""
    times = []
    for _ in range(2):
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        started = time.monotonic()
        stems = work()
        times.append(time.monotonic() - started)
    return stems, min(times), torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else float("nan")


def rows(seconds: float, device: str) -> Iterator[list[str]]:
    configure_cpu(torch.get_num_threads())
    model, audio = network().to(device), noise(seconds)
    largest = fitting_batch(open_boundary(device).free_bytes(), MODELS["htdemucs"].segment_bytes, 7.8)
    reference = torch.empty(0)
    for tf32 in (False, True):
        allow_tf32(tf32)
        runs = [("Demucs", lambda: demucs(model, audio, device))]
        for batch in sorted({1, min(4, largest), largest}):
            runs.append((f"engine, batches of {batch}", lambda batch=batch: engine(model, audio, device, batch)))  # type: ignore[misc]
        for name, work in runs:
            stems, best, memory = measured(work, device)
            reference = reference if len(reference) else stems
            difference = float((stems - reference).abs().max() / reference.abs().max())
            precision = "TF32" if tf32 else "float32"
            yield [name, precision, f"{best:.2f}", f"{seconds / best:.0f}", f"{memory:.0f}", f"{difference:.1e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=180.0)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no GPU here.")
        return
    heads = ["tool", "precision", "s", "× real time", "GPU MB", "apart, of the peak"]
    table("Network passes", heads, list(rows(options.seconds, options.device)))


if __name__ == "__main__":
    main()
