"""Training on a GPU: songs in its memory, rendered by other processes while it trains, and examples made of them there.

Owns the pool and the way examples are drawn from it. How far they are changed is `data`'s to say; each stem is
altered once, when its clip is rendered, not anew in each example. What is in the pool at a step depends on how fast
clips come, so two runs of the same seed are alike, not equal.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch

from separation.starter.data import DELAYS, FULL_SCALE, LONGEST_DELAY, STRETCH, Clips
from separation.starter.synthesis import RATE, STEMS

ENOUGH = 200  # clips to begin with


class Pool:
    """The clips that have been rendered so far, int16 (clips, 4, 2, samples) on `device`.

    Raises ValueError if its memory has no room for all of them.
    """

    def __init__(self, clips: Clips, device: str) -> None:
        self.clips = clips
        shape = (clips.count, len(STEMS), 2, round(clips.seconds * RATE))
        try:
            self.songs = torch.empty(shape, dtype=torch.int16, device=device)
        except torch.OutOfMemoryError as error:
            raise ValueError(f"{clips.count} clips do not fit into the memory of {device}: make fewer") from error
        self.count = 0
        self._missing = list(range(clips.count))

    def load(self) -> bool:
        """Take in the clips that have come since the last time; whether some are still missing."""
        came = [index for index in self._missing if self.clips.path(index).is_file()]
        for index in came:
            self.songs[self.count].copy_(torch.from_numpy(np.load(self.clips.path(index))))
            self.count += 1
        self._missing = sorted(set(self._missing).difference(came))
        return bool(self._missing)

    def batches(self, size: int, samples: int, seed: int, first_step: int = 0) -> Iterator[torch.Tensor]:
        """Endless batches, float32 (size, 4, 2, samples) on the device. Raises ValueError if clips are too short."""
        longest = int(samples * float(np.exp(STRETCH))) + 2
        if self.songs.shape[-1] < longest:
            raise ValueError(f"clips of {self.songs.shape[-1]} samples are too short for crops of {longest}")
        rng = torch.Generator(self.songs.device)
        step = first_step
        while True:
            rng.manual_seed(seed * 1_000_003 + step)
            yield self._batch(Dice(rng), size, samples)
            step += 1

    def _batch(self, dice: "Dice", size: int, samples: int) -> torch.Tensor:
        """Each example of one song, or (a remix) each stem of another, half of those at another speed."""
        count, changes = len(STEMS), self.clips.changes
        remixed = dice.chance(changes.remixed, size, 1)
        song = (dice.between(0, 1, size, count) * self.count).long()
        ratio = torch.where(
            remixed & dice.chance(0.5, size, count), dice.between(-STRETCH, STRETCH, size, count).exp(), 1
        )
        room = self.songs.shape[-1] - (samples * ratio).ceil() - 1
        start = (dice.between(0, 1, size, count) * room).long()
        song, start = (torch.where(remixed, drawn, drawn[:, :1]) for drawn in (song, start))
        stems = dispersed(dice, self._cut(song, start, ratio, samples), changes.dispersed)
        stems = stems * dice.gains(changes.gain, -changes.gain, size, count) * dice.sign(size, count)
        stems = torch.where(dice.chance(0.5, size, 1)[..., None, None], stems.flip(2), stems)
        return (stems * dice.gains(3, -10, size, 1)).contiguous()

    def _cut(self, song: torch.Tensor, start: torch.Tensor, ratio: torch.Tensor, samples: int) -> torch.Tensor:
        """`samples` values of each stem from `start` on, `ratio` apart, by linear interpolation, full scale 1."""
        stems = self.songs[song, torch.arange(len(STEMS), device=song.device)]
        at = torch.arange(samples, device=song.device, dtype=torch.float64) * ratio[..., None]
        index = at.long()
        part = (at - index).float()[:, :, None]
        first = (start[..., None] + index)[:, :, None].expand(-1, -1, 2, -1)
        low, high = (stems.gather(3, place).float() for place in (first, first + 1))
        return (low + (high - low) * part) / FULL_SCALE


def dispersed(dice: "Dice", stems: torch.Tensor, share: float) -> torch.Tensor:
    """As `data.dispersed`, for a share of the stems (size, sources, 2, samples)."""
    samples, shape = stems.shape[-1], stems.shape[:2]
    chosen = dice.chance(share, *shape)[..., None]
    longest = LONGEST_DELAY * dice.between(0, 1, *shape, 1).square() * chosen
    delay = (dice.between(0, 1, *shape, len(DELAYS)) * longest) @ _bells(samples).to(stems.device)
    phase = -2 * np.pi * delay.double().cumsum(-1) * (RATE / samples) + dice.between(0, 2 * np.pi, *shape, 1) * chosen
    turn = torch.polar(torch.ones_like(phase), phase).to(torch.complex64)
    return torch.fft.irfft(torch.fft.rfft(stems) * turn[:, :, None], samples)


@lru_cache(maxsize=2)
def _bells(samples: int) -> torch.Tensor:
    """What each of the drawn delays has in the delay of each bin, (delays, bins): interpolation as a product."""
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    rows = [np.interp(np.log1p(frequency), np.log1p(DELAYS), unit) for unit in np.eye(len(DELAYS))]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


@contextmanager
def filling(
    clips: Clips, device: str, workers: int, on_clip: Callable[[int], None] = lambda _left: None, every: float = 1.0
) -> Iterator[Pool]:
    """A pool with enough clips to begin with, which others join while it is used. Raises OSError."""
    pool, stopped = Pool(clips, device), threading.Event()
    with ThreadPoolExecutor(2, thread_name_prefix="clips") as threads:
        rendering = threads.submit(clips.render, on_clip, workers, stopped)
        try:
            _begin(pool, rendering, every)
            threads.submit(_follow, pool, stopped, every)
            yield pool
        finally:
            stopped.set()


def _begin(pool: Pool, rendering: Future[None], every: float) -> None:
    """Wait for the first clips, and for the error if they can't be rendered."""
    while pool.load() and pool.count < ENOUGH:
        try:
            rendering.result(timeout=every)
        except TimeoutError:
            continue


def _follow(pool: Pool, stopped: threading.Event, every: float) -> None:
    while pool.load() and not stopped.wait(every):
        pass


class Dice:
    """Draws for whole batches from one generator, on its device."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.rng, device=self.rng.device) * (high - low) + low

    def chance(self, share: float, *shape: int) -> torch.Tensor:
        return self.between(0, 1, *shape) < share

    def sign(self, *shape: int) -> torch.Tensor:
        """-1 or 1, (shape, 1, 1)."""
        return torch.where(self.chance(0.5, *shape), -1.0, 1.0)[..., None, None]

    def gains(self, high: float, low: float, *shape: int) -> torch.Tensor:
        """Factors of `low` to `high` dB, (shape, 1, 1)."""
        return (10 ** (self.between(low, high, *shape) / 20))[..., None, None]
