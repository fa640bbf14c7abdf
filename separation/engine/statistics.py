"""Mean and standard deviation of the mono reference, a window at a time.

Demucs normalises a track by the mean and the (unbiased) deviation of its channels' average; `demucs.api`
computes them over the whole track, this over windows, in float64. Owns nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-8


@dataclass(frozen=True)
class Normalisation:
    """`(x - mean) / std` before the network, `y * std + mean` after it. `std` is never 0."""

    mean: float
    std: float


class RunningStatistics:
    """Accumulates windows of shape (frames, channels).

    Pairwise update of Chan, Golub and LeVeque (1979), so that a long, loud track loses no digits.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._mean = 0.0
        self._squares = 0.0

    def update(self, block: NDArray[np.float32]) -> None:
        """Take in the next window."""
        if not len(block):
            return
        mono = block.mean(axis=1, dtype=np.float64)
        mean = float(mono.mean())
        squares = float(np.square(mono - mean).sum())
        total = self.frames + len(mono)
        delta = mean - self._mean
        self._squares += squares + delta * delta * self.frames * len(mono) / total
        self._mean += delta * len(mono) / total
        self.frames = total

    def normalisation(self) -> Normalisation:
        """The result so far. A single frame has no deviation; it is taken as 0 (Demucs would give NaN)."""
        variance = self._squares / (self.frames - 1) if self.frames > 1 else 0.0
        return Normalisation(self._mean, math.sqrt(max(0.0, variance)) + EPSILON)
