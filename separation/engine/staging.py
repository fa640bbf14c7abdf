"""Float32 samples kept on the disk until they can be written.

A stem is staged when its peak must be known first (clip mode `rescale`) or when several networks add to it.
One stage holds one stem: 8 bytes a frame in stereo, removed as soon as it has been encoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

READ_FRAMES = 131072


class Stage:
    """A file of (frames, channels) float32, written in order, once or several times over.

    `peak` is the largest magnitude of the last values written.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path = path
        self.peak = 0.0
        self._channels = channels
        self._file = path.open("w+b")

    def write(self, position: int, samples: NDArray[np.float32], *, add: bool = False) -> None:
        """Put samples at `position` (frames), on top of what an earlier round left there if `add`."""
        width = 4 * self._channels
        self._file.seek(position * width)
        if add:
            samples = samples + self._read(len(samples))
            self._file.seek(position * width)
        if position == 0:
            self.peak = 0.0
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        self._file.write(np.ascontiguousarray(samples, "<f4").data)

    def read(self) -> Iterator[NDArray[np.float32]]:
        """All samples, a window at a time."""
        self._file.seek(0)
        while len(samples := self._read(READ_FRAMES)):
            yield samples

    def remove(self) -> None:
        """Close and delete the file."""
        with contextlib.suppress(OSError):  # what is still buffered finds the disk as full as before
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _read(self, frames: int) -> NDArray[np.float32]:
        data = self._file.read(frames * 4 * self._channels)
        return np.frombuffer(data, "<f4").reshape(-1, self._channels)
