"""The stretch of decoded audio that is needed now.

Owns a buffer that slides along the track: it pulls windows from the decoder when asked for audio further on and
forgets what is behind. Its size depends on the segment length, never on the track's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from separation.engine.errors import EngineError
from separation.errors import ReasonCode


class SlidingWindow:
    """Samples of a track of known `length`, read by position; outside the track there are zeros.

    `blocks` delivers (frames, channels) float32. Positions before the last `forget` are gone.
    """

    def __init__(self, blocks: Iterator[NDArray[np.float32]], length: int, channels: int) -> None:
        self.length = length
        self._blocks = blocks
        self._buffer = np.zeros((channels, 0), np.float32)
        self._start = 0
        self._stop = 0

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """A new array (channels, stop - start); what lies before 0 or past the track's end is 0.

        Raises `EngineError` (decoder_failed) if the track ends before its stated length.
        """
        out = np.zeros((self._buffer.shape[0], stop - start), np.float32)
        first, last = max(0, start), min(stop, self.length)
        if first < last:
            out[:, first - start : last - start] = self.view(first, last)
        return out

    def view(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples (channels, stop - start) within the track, without a copy; valid until the next call."""
        self._pull(stop)
        if start < self._start:
            raise IndexError(f"sample {start} was forgotten; the window starts at {self._start}")
        return self._buffer[:, start - self._start : stop - self._start]

    def forget(self, before: int) -> None:
        """Samples before this position will not be read again."""
        before = min(before, self._stop)
        # Moving the rest costs a copy: do it when at least half the buffer is free.
        if before - self._start > self._buffer.shape[1] // 2:
            kept = self._stop - before
            self._buffer[:, :kept] = self._buffer[:, before - self._start : self._stop - self._start]
            self._start = before

    def _pull(self, stop: int) -> None:
        while self._stop < stop:
            block = next(self._blocks, None)
            if block is None:
                raise EngineError(ReasonCode.DECODER_FAILED, "The file ended earlier than when it was first read.")
            self._append(block)

    def _append(self, block: NDArray[np.float32]) -> None:
        used = self._stop - self._start
        if used + len(block) > self._buffer.shape[1]:
            grown = np.zeros((self._buffer.shape[0], 2 * (used + len(block))), np.float32)
            grown[:, :used] = self._buffer[:, :used]
            self._buffer = grown
        self._buffer[:, used : used + len(block)] = block.T
        self._stop += len(block)

    def finish(self) -> None:
        """Check that the track ends here. Raises `EngineError` (decoder_failed) if more audio comes."""
        pulled = self._stop + sum(len(block) for block in self._blocks)
        if pulled != self.length:
            raise EngineError(ReasonCode.DECODER_FAILED, "The file is longer than when it was first read.")
