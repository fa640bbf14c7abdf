"""Having the kernel write early: a file's bytes on their way to the disk while more of them are still coming.

A flush then finds little left to do. Owns no promise about durability: that is the flush's. Linux only; elsewhere,
and on file systems that do not know it, nothing happens early.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from memory.quantities import MIB

STEP = MIB  # measured: larger steps leave more for the flush, smaller ones only cost calls
SYNC_FILE_RANGE_WRITE = 2  # begin writing the dirty pages of the range; wait for nothing


def _kernel_call() -> Callable[[int, int, int, int], int] | None:
    """`sync_file_range(2)`, which Python does not have."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError, TypeError):  # not Linux
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range = _kernel_call()


class EarlyWrites:
    """Told of each write to a file that grows from `start`, begins writing it to the disk every `STEP` bytes."""

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor = descriptor
        self._begun = self._end = start

    def note(self, count: int) -> None:
        """`count` more bytes have been written to the file. What goes wrong here goes wrong in the flush, too."""
        self._end += count
        if self._end - self._begun >= STEP and _sync_file_range is not None:
            _sync_file_range(self._descriptor, self._begun, self._end - self._begun, SYNC_FILE_RANGE_WRITE)
            self._begun = self._end
