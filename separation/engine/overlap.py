"""Transition weights, and the buffer in which overlapping segments add up.

Reproduces `demucs.apply.apply_model`: each segment is weighted by a triangle and the sum divided by the sum of
weights. Here the division comes first, sample by sample, so that a segment can be added to a buffer that is
given away as soon as no later segment reaches it. Does not run networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def transition_weights(segment: int) -> NDArray[np.float32]:
    """The triangle of `segment` samples, 1 in the middle (`transition_power` 1)."""
    rising = np.arange(1, segment // 2 + 1)
    falling = np.arange(segment - segment // 2, 0, -1)
    triangle = np.concatenate([rising, falling])
    return (triangle / triangle.max()).astype(np.float32)


class TransitionWeights:
    """Weights of the segments of one pass of `length` samples, divided by their sum at each sample.

    Segments start at multiples of `stride`; each is at most `segment` long and ends at `length`.
    """

    def __init__(self, segment: int, stride: int, length: int) -> None:
        self._segment = segment
        self._stride = stride
        self._length = length
        self._triangle = transition_weights(segment)
        self._inner: NDArray[np.float32] | None = None

    def at(self, offset: int) -> NDArray[np.float32]:
        """Weights of the segment that starts at `offset`; they and those of its neighbours sum to 1."""
        if self._is_inner(offset):
            if self._inner is None:
                self._inner = self._compute(offset)
            return self._inner
        return self._compute(offset)

    def _is_inner(self, offset: int) -> bool:
        return offset >= self._segment and offset + 2 * self._segment <= self._length

    def _compute(self, offset: int) -> NDArray[np.float32]:
        size = min(self._segment, self._length - offset)
        total = np.zeros(size, np.float32)
        first = max(0, -(-(offset - self._segment + 1) // self._stride)) * self._stride
        for other in range(first, min(offset + size, self._length), self._stride):
            start, stop = max(other, offset), min(other + self._segment, offset + size)
            if start < stop:
                total[start - offset : stop - offset] += self._triangle[start - other : stop - other]
        return self._triangle[:size] / total


class OverlapAdd:
    """A sliding sum of shape (outputs, channels, …) over positions of the track.

    `capacity` is the longest stretch between the last position forgotten and the end of the furthest segment.
    """

    def __init__(self, outputs: int, channels: int, capacity: int) -> None:
        self._sum = torch.zeros(outputs, channels, capacity)
        self._start = 0

    def add(
        self, position: int, segment: torch.Tensor, weights: torch.Tensor, mixing: Sequence[Sequence[float]]
    ) -> None:
        """Add a segment (sources, channels, n) at `position`, mixed to the outputs by `mixing[output][source]`.

        What lies before the last position forgotten (the zeros that a shifted pass starts with) is left out.
        """
        skipped = max(0, self._start - position)
        size = segment.shape[-1] - skipped
        if size <= 0:
            return
        first = position + skipped - self._start
        for output, row in enumerate(mixing):
            target = self._sum[output, :, first : first + size]
            for source, factor in enumerate(row):
                if factor:
                    target.addcmul_(segment[source, :, skipped:], weights[skipped:], value=factor)

    def finished(self, until: int) -> torch.Tensor:
        """The sums (outputs, channels, n) from the last position forgotten up to `until`: a view, valid until the next
        call."""
        return self._sum[..., : until - self._start]

    def forget(self, until: int) -> None:
        """Sums before `until` are not asked for again."""
        size = until - self._start
        kept = self._sum.shape[-1] - size
        # Non-overlapping pieces: copying forwards within one buffer must not read what it has written.
        for begin in range(0, kept, max(1, size)):
            end = min(begin + size, kept)
            self._sum[..., begin:end] = self._sum[..., begin + size : end + size]
        self._sum[..., kept:] = 0
        self._start = until
