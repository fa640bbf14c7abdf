"""A file that knows its size and digests as soon as it is closed, and is on the disk by then.

Owns writing output bytes: sha256 and crc32 while they pass, fsync at the end. Knows no audio format.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 1024**2


@dataclass(frozen=True)
class Digests:
    """Size in bytes, sha256 as hex, crc32 as an unsigned integer."""

    bytes: int
    sha256: str
    crc32: int


class HashingFile:
    """A new file at `path`. Raises OSError from `write` and `close` when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self._file.write(data)
        self._sha256.update(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        self._bytes += len(data)

    def close(self) -> Digests:
        """Flush to the disk and say what was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Digests(self._bytes, self._sha256.hexdigest(), self._crc32)

    def abandon(self) -> None:
        """Close without promises; the caller removes the file."""
        with contextlib.suppress(OSError):  # what is still buffered finds the disk as full as before
            self._file.close()


def digest_file(path: Path) -> Digests:
    """Digests of a finished file, which is also flushed to the disk."""
    sha256, crc32, size = hashlib.sha256(), 0, 0
    with path.open("r+b") as file:
        while data := file.read(READ_BYTES):
            sha256.update(data)
            crc32 = zlib.crc32(data, crc32)
            size += len(data)
        os.fsync(file.fileno())
    return Digests(size, sha256.hexdigest(), crc32)
