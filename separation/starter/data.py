"""Training examples: a folder of rendered clips, and the crops, remixes and changes drawn from it.

Owns augmentation and the form clips are kept in: int16 arrays (4, 2, samples) in `SEED.npy`. Owns no synthesis.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from separation.starter.synthesis import RATE, synthesise
from separation.starter.synthesis.signal import Rng, Signal, gain
from separation.starter.synthesis.space import chorused, driven, in_room, widened

FIRST_SEED = 100_000
CLIP_SECONDS = 8.0
FULL_SCALE = 32767
STRETCH = 0.17
LONGEST_DELAY = 0.02  # s
DELAYS = np.geomspace(20, RATE / 2, 14)  # Hz, where a stem's delays are drawn


@dataclass(frozen=True)
class Changes:
    """How much of the examples is changed: the share that is remixed, the shares of stems that are altered and
    dispersed, and by how many dB at most a stem is louder or quieter than in its song."""

    remixed: float = 0.5
    altered: float = 0.4
    dispersed: float = 0.7
    gain: float = 6.0


MANY, FEW = Changes(), Changes(remixed=0.25, altered=0.1, dispersed=0.25, gain=3.0)


@dataclass(frozen=True)
class Clips:
    """The clips of the seeds from `first` on: always the same songs for the same `count`. Examples have `changes`.

    With `altered` that share of their stems is altered when they are rendered, for training that does not do it itself.
    """

    folder: Path
    count: int
    seconds: float = CLIP_SECONDS
    first: int = FIRST_SEED
    changes: Changes = MANY
    altered: bool = False

    def path(self, index: int) -> Path:
        return self.folder / f"{self.first + index:06d}.npy"

    def missing(self) -> list[int]:
        return [index for index in range(self.count) if not self.path(index).is_file()]

    def render(
        self,
        on_clip: Callable[[int], None] = lambda _left: None,
        workers: int = 1,
        stopped: threading.Event | None = None,
    ) -> None:
        """Synthesise the clips that are not there yet, in so many processes, until `stopped`; `on_clip` hears how
        many are left. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = self.missing()
        with mapping(workers) as over:
            for done, _ in enumerate(over(self._render_one, missing), start=1):
                on_clip(len(missing) - done)
                if stopped is not None and stopped.is_set():
                    break

    def _render_one(self, index: int) -> None:
        seed = self.first + index
        stems = synthesise(seed, self.seconds)
        rng = np.random.default_rng([seed, len(stems)])
        if self.altered:
            stems = np.stack([altered(rng, stem) if rng.random() < self.changes.altered else stem for stem in stems])
        unfinished = self.folder / f".{seed}.npy"
        np.save(unfinished, np.round(np.clip(stems, -1, 1) * FULL_SCALE).astype(np.int16))
        unfinished.replace(self.path(index))

    def crop(self, rng: Rng, samples: int) -> Signal:
        """A random part of a random clip, (4, 2, samples). Raises ValueError if clips are shorter than that."""
        clip = np.load(self.path(int(rng.integers(self.count))), mmap_mode="r")
        if clip.shape[-1] < samples:
            raise ValueError(f"clips of {clip.shape[-1]} samples are too short for crops of {samples}")
        start = int(rng.integers(clip.shape[-1] - samples + 1))
        return clip[..., start : start + samples].astype(np.float32) / FULL_SCALE

    def batches(self, size: int, samples: int, seed: int, first_step: int = 0) -> Iterator[torch.Tensor]:
        """Endless batches for training, (size, 4, 2, samples), the next one made while this one is used."""
        return map(torch.from_numpy, ahead(batches(self, size, samples, seed, first_step)))


@contextmanager
def mapping(workers: int) -> Iterator[Callable[..., Iterator[None]]]:
    """`map` in so many processes, none of which outlives the block."""
    if workers == 1:
        yield map
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes share the cores already
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def resampled(audio: Signal, samples: int) -> Signal:
    """(2, n) stretched to (2, samples) by linear interpolation: pitch and speed together, as a tape does."""
    at = np.linspace(0, audio.shape[1] - 1, samples)
    index = np.minimum(at.astype(np.int64), audio.shape[1] - 2)
    part = (at - index).astype(np.float32)
    return audio[:, index] * (1 - part) + audio[:, index + 1] * part


def varied(rng: Rng, clips: Clips, source: int, samples: int) -> Signal:
    """One stem of a random clip, half of the time at another speed, (2, samples)."""
    ratio = float(np.exp(rng.uniform(-STRETCH, STRETCH))) if rng.random() < 0.5 else 1.0
    taken = int(samples * ratio)
    stem = clips.crop(rng, taken)[source]
    return stem if taken == samples else resampled(stem, samples)


def altered(rng: Rng, stem: Signal) -> Signal:
    """(2, samples) as another studio might have had it: no effect is the mark of any one stem."""
    for effect in (driven, chorused, widened):
        if rng.random() < 0.35:
            stem = effect(rng, stem)
    return in_room(rng, stem, 0.6, -8)


def dispersed(rng: Rng, stem: Signal) -> Signal:
    """(2, samples) with each frequency delayed by up to 20 ms, differently: a random all-pass, on a circle.

    Synthesised partials start in phase. A network that sees complex spectrograms takes that for the mark of an
    instrument; loudspeakers, microphones, rooms and filters leave nothing of it in recordings.
    """
    samples = stem.shape[1]
    longest = LONGEST_DELAY * float(rng.random()) ** 2
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    delay = np.interp(np.log1p(frequency), np.log1p(DELAYS), rng.uniform(0, longest, len(DELAYS)))
    phase = -2 * np.pi * np.cumsum(delay) * (RATE / samples) + rng.uniform(0, 2 * np.pi)
    turned = np.fft.rfft(stem) * np.exp(1j * phase).astype(np.complex64)
    return np.fft.irfft(turned, samples).astype(np.float32)


def example(rng: Rng, clips: Clips, samples: int) -> Signal:
    """Four stems that sum to one training mixture, (4, 2, samples): of one song, or each of another (a remix)."""
    changes = clips.changes
    if rng.random() < changes.remixed:
        stems = np.stack([varied(rng, clips, source, samples) for source in range(4)])
    else:
        stems = clips.crop(rng, samples)
    stems = np.stack([altered(rng, stem) if rng.random() < changes.altered else stem for stem in stems])
    stems = np.stack([dispersed(rng, stem) if rng.random() < changes.dispersed else stem for stem in stems])
    decibels = rng.uniform(-changes.gain, changes.gain, 4)
    gains = np.array([gain(each) for each in decibels]) * rng.choice([-1, 1], 4)
    stems = stems * gains.astype(np.float32)[:, None, None]
    if rng.random() < 0.5:
        stems = stems[:, ::-1]
    return np.ascontiguousarray(stems * np.float32(gain(rng.uniform(-10, 3))))


def batches(clips: Clips, size: int, samples: int, seed: int, first_step: int = 0) -> Iterator[Signal]:
    """Endless batches, (size, 4, 2, samples). Batch i depends on (seed, i) only, so training can go on anywhere."""
    step = first_step
    while True:
        rng = np.random.default_rng([seed, step])
        yield np.stack([example(rng, clips, samples) for _ in range(size)])
        step += 1


def ahead(source: Iterator[Signal]) -> Iterator[Signal]:
    """The same items, the next one made in a thread while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source)
        while True:
            item = coming.result()
            coming = pool.submit(next, source)
            yield item


def crop_samples(seconds: float) -> int:
    return round(seconds * RATE)
