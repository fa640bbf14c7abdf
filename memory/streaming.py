"""Moving bytes with bounded memory: append, copy, hash, read a range, publish, clean up.

Owns file contents in transit. Knows nothing of uploads, jobs or storage back ends. Every function holds at most
one chunk (`STREAMING_CHUNK_SIZE` unless told otherwise), whatever the size of the file.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from memory.conf import memory_settings
from memory.writeback import EarlyWrites

STALE_SUFFIXES = (".part", ".tmp")
UNLIMITED = 2**63 - 1


class Readable(Protocol):
    """Anything with a file's `read(size)`; it may return less than asked, and b"" at the end."""

    def read(self, size: int, /) -> bytes: ...


class Digest(Protocol):
    """A hash from hashlib, or anything with its `update`."""

    def update(self, data: bytes, /) -> object: ...


class StreamingFileHandler:
    """Reads and writes in chunks of `chunk_size` bytes (default: the STREAMING_CHUNK_SIZE setting)."""

    def __init__(self, chunk_size: int | None = None) -> None:
        self.chunk_size = chunk_size or memory_settings().streaming_chunk_size

    def append(
        self,
        source: Readable,
        target: Path,
        *,
        offset: int,
        limit: int,
        on_chunk: Callable[[bytes], object] | None = None,
        sync: bool = True,
        early: bool = False,
    ) -> int:
        """Write `source` to `target` from `offset` on, at most `limit` bytes, and flush it to the disk.

        Without `sync` flushing is left to the caller, who may choose when. With `early` the disk is kept busy
        meanwhile, so that a flush has little left to do.

        Bytes after `offset` that an interrupted append left are cut off first, so only what the caller has
        committed counts. A source that ends early is no error: what came is kept and its length returned.

        Returns:
            Bytes written by this call.

        Raises:
            ValueError: `target` holds fewer than `offset` bytes.
            OSError: the disk is full, or cannot be written; what was written before stays, uncommitted.
        """
        with _open_at(target, offset) as file:
            ahead = EarlyWrites(file.fileno(), offset) if early else None
            try:
                return self._pump(source, file, limit, on_chunk, ahead)
            finally:
                if sync:
                    _flush(file)

    def _pump(
        self,
        source: Readable,
        file: BinaryIO,
        limit: int,
        on_chunk: Callable[[bytes], object] | None = None,
        ahead: EarlyWrites | None = None,
    ) -> int:
        written = 0
        while written < limit and (chunk := source.read(min(self.chunk_size, limit - written))):
            _write_all(file, chunk)
            written += len(chunk)
            if ahead is not None:
                ahead.note(len(chunk))
            if on_chunk is not None:
                on_chunk(chunk)
        return written

    def copy(self, source: Readable, target: Path) -> int:
        """Write all of `source` to a new file at `target`; nothing is left there if it fails.

        Raises:
            OSError: `target` exists, or cannot be written.
        """
        with target.open("xb", buffering=0) as file:
            try:
                written = self._pump(source, file, UNLIMITED)
                _flush(file)
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        return written

    def chunks(self, source: Readable, length: int | None = None) -> Iterator[bytes]:
        """The bytes of `source` (the next `length` of them), a chunk at a time."""
        left = UNLIMITED if length is None else length
        while left > 0 and (chunk := source.read(min(self.chunk_size, left))):
            left -= len(chunk)
            yield chunk

    def sha256(self, source: Path | Readable) -> str:
        """The SHA-256 of a file or of the rest of an open one, as 64 hex digits."""
        digest = hashlib.sha256()
        self.feed(source, digest)
        return digest.hexdigest()

    def feed(self, source: Path | Readable, *digests: Digest) -> int:
        """Give every byte to each digest, in one reading; returns how many bytes there were."""
        if isinstance(source, Path):
            with source.open("rb", buffering=0) as file:
                return self.feed(file, *digests)
        size = 0
        for chunk in self.chunks(source):
            size += len(chunk)
            for digest in digests:
                digest.update(chunk)
        return size

    def iter_range(self, file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of a seekable file from `start`, a chunk at a time; fewer if it ends. Closes the file."""
        with file:
            file.seek(start)
            yield from self.chunks(file, length)

    def publish(self, temp: Path, final: Path) -> None:
        """Put a finished file in its place: afterwards `final` is the old or the new file, never a part of one.

        The bytes reach the disk before the name does, and the name before this returns. Across file systems the
        file is first copied beside `final`.
        """
        _sync_file(temp)
        try:
            temp.replace(final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._publish_across(temp, final)
        _sync_folder(final.parent)

    def _publish_across(self, temp: Path, final: Path) -> None:
        beside = final.with_name(f".{final.name}.{uuid4().hex}.part")
        with temp.open("rb", buffering=0) as source:
            self.copy(source, beside)
        beside.replace(final)
        temp.unlink()

    def remove_stale(
        self,
        folder: Path,
        older_than: float,
        *,
        suffixes: tuple[str, ...] = STALE_SUFFIXES,
        now: Callable[[], float] = time.time,
    ) -> list[Path]:
        """Delete what interrupted work left: entries of `folder` named `*.part` or `*.tmp`, untouched for
        `older_than` seconds. A folder so named goes with its contents; symbolic links go, their targets stay.

        Returns:
            What was deleted.
        """
        oldest = now() - older_than
        return [entry for entry in _entries(folder, suffixes) if _newest(entry) < oldest and _remove(entry)]


def _open_at(target: Path, offset: int) -> BinaryIO:
    """`target`, created if absent, cut to `offset` bytes and positioned there; unbuffered."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "r+b", buffering=0)
    size = os.fstat(descriptor).st_size
    if size < offset:
        file.close()
        raise ValueError(f"{target.name} holds {size} bytes, fewer than the offset {offset}")
    file.truncate(offset)
    file.seek(offset)
    return file


def _write_all(file: BinaryIO, data: bytes) -> None:
    """An unbuffered write may take only part of it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    if folder.is_dir():
        yield from (entry for entry in sorted(folder.iterdir()) if entry.name.endswith(suffixes))


def _newest(entry: Path) -> float:
    """When it was last written to, seconds since the epoch; for a folder, anything in it. Gone: never stale."""
    try:
        newest = entry.lstat().st_mtime
        if entry.is_dir() and not entry.is_symlink():
            newest = max([newest, *(inner.lstat().st_mtime for inner in entry.rglob("*"))])
    except FileNotFoundError:
        return float("inf")
    return newest


def _remove(entry: Path) -> bool:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
    return not entry.exists()
