"""Zip archives laid out before a byte is sent: stored, not compressed, so that any range of one can be produced.

Owns the format: sizes and CRC-32 of the members are known beforehand, hence the archive's length, the offset of
everything in it, and no temporary file. Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5; zip64 fields appear
only where a size or an offset needs them.
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO

from memory.streaming import StreamingFileHandler
from separation.filenames import LONGEST_FILE, cut, with_ending

UTF8_NAMES = 0x0800
STORED = 0
VERSION, VERSION_ZIP64 = 20, 45
MADE_ON_UNIX = 3 << 8
REGULAR_FILE = 0o100644 << 16
TOO_BIG_32, TOO_MANY_16 = 0xFFFFFFFF, 0xFFFF
ZIP64_EXTRA = 1
_EARLIEST, _LATEST = datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58)

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")


@dataclass(frozen=True)
class ZipEntry:
    """One member: its name, size in bytes, CRC-32, time, and how to open its content for reading."""

    name: str
    size: int
    crc32: int
    open: Callable[[], BinaryIO]
    modified: datetime = _EARLIEST


@dataclass(frozen=True)
class _Part:
    """A stretch of the archive: bytes that are at hand, or a member's content."""

    start: int
    size: int
    content: bytes | ZipEntry


class ZipLayout:
    """An archive of `entries`, in their order. Names are made safe and unique.

    >>> layout = ZipLayout([ZipEntry("a.txt", 2, zlib.crc32(b"hi"), lambda: io.BytesIO(b"hi"))])
    >>> len(b"".join(layout.iter_range(0, layout.size))) == layout.size
    True
    """

    def __init__(self, entries: Iterable[ZipEntry], *, handler: StreamingFileHandler | None = None) -> None:
        self.entries = tuple(entries)
        self.names = unique_names([entry.name for entry in self.entries])
        self._handler = handler or StreamingFileHandler()
        self._parts = list(self._lay_out())
        self._starts = [part.start for part in self._parts]
        self.size = self._parts[-1].start + self._parts[-1].size
        """Length of the whole archive, bytes."""

    @property
    def etag(self) -> str:
        """Equal for archives whose bytes are equal: hex digits, without quotes."""
        facts = [
            (name, e.size, e.crc32, _dos_time(e.modified)) for name, e in zip(self.names, self.entries, strict=True)
        ]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def iter_range(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The archive's bytes from `start` up to but not including `end`, a chunk at a time."""
        end = self.size if end is None else min(end, self.size)
        index = max(0, bisect_right(self._starts, start) - 1)
        for part in self._parts[index:]:
            if part.start >= end:
                return
            first, last = max(0, start - part.start), min(part.size, end - part.start)
            if first < last:
                yield from self._bytes_of(part, first, last)

    def _bytes_of(self, part: _Part, first: int, last: int) -> Iterator[bytes]:
        if isinstance(part.content, bytes):
            yield part.content[first:last]
        else:
            yield from self._handler.iter_range(part.content.open(), first, last - first)

    def _lay_out(self) -> Iterator[_Part]:
        position, offsets = 0, []
        for name, entry in zip(self.names, self.entries, strict=True):
            offsets.append(position)
            header = _local_header(name, entry)
            yield _Part(position, len(header), header)
            yield _Part(position + len(header), entry.size, entry)
            position += len(header) + entry.size
        directory = b"".join(map(_central_header, self.names, self.entries, offsets))
        yield _Part(position, len(directory), directory)
        ending = _ending(len(self.entries), len(directory), position)
        yield _Part(position + len(directory), len(ending), ending)


def safe_name(name: str) -> str:
    """A member name that no program unpacks outside its folder or cannot create: one path component, visible
    characters, none of those that Windows refuses."""
    visible = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C")
    plain = re.sub(r'[/\\<>:"|?*]', "_", visible).strip(". ")
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain):
        plain = f"_{plain}"
    suffix = PurePosixPath(plain).suffix[:20]
    return (with_ending(plain.removesuffix(suffix), suffix) if suffix else cut(plain, LONGEST_FILE)) or "file"


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Safe names, the second of two equal ones with ` (2)`; case does not make a difference."""
    taken: set[str] = set()
    return tuple(_untaken(safe_name(name), taken) for name in names)


def _untaken(name: str, taken: set[str]) -> str:
    path, candidate, number = PurePosixPath(name), name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{path.stem} ({number}){path.suffix}", number + 1
    taken.add(candidate.casefold())
    return candidate


def _dos_time(moment: datetime) -> tuple[int, int]:
    """Date and time in MS-DOS format, two-second steps (APPNOTE 4.4.6)."""
    moment = min(max(moment.replace(tzinfo=None), _EARLIEST), _LATEST)
    date = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
    return date, moment.hour << 11 | moment.minute << 5 | moment.second // 2


def _local_header(name: str, entry: ZipEntry) -> bytes:
    big = entry.size >= TOO_BIG_32
    size = TOO_BIG_32 if big else entry.size
    extra = struct.pack("<2H2Q", ZIP64_EXTRA, 16, entry.size, entry.size) if big else b""
    date, time = _dos_time(entry.modified)
    encoded = name.encode()
    fixed = _LOCAL.pack(
        b"PK\x03\x04",
        VERSION_ZIP64 if big else VERSION,
        UTF8_NAMES,
        STORED,
        time,
        date,
        entry.crc32,
        size,
        size,
        len(encoded),
        len(extra),
    )
    return fixed + encoded + extra


def _central_header(name: str, entry: ZipEntry, offset: int) -> bytes:
    wide = [value for value in (entry.size, entry.size, offset) if value >= TOO_BIG_32]
    extra = struct.pack(f"<2H{len(wide)}Q", ZIP64_EXTRA, 8 * len(wide), *wide) if wide else b""
    date, time = _dos_time(entry.modified)
    encoded = name.encode()
    size = min(entry.size, TOO_BIG_32)
    version = VERSION_ZIP64 if wide else VERSION
    fixed = _CENTRAL.pack(
        b"PK\x01\x02",
        MADE_ON_UNIX | version,
        version,
        UTF8_NAMES,
        STORED,
        time,
        date,
        entry.crc32,
        size,
        size,
        len(encoded),
        len(extra),
        0,
        0,
        0,
        REGULAR_FILE,
        min(offset, TOO_BIG_32),
    )
    return fixed + encoded + extra


def _ending(count: int, directory_size: int, directory_start: int) -> bytes:
    end = _END.pack(
        b"PK\x05\x06",
        0,
        0,
        min(count, TOO_MANY_16),
        min(count, TOO_MANY_16),
        min(directory_size, TOO_BIG_32),
        min(directory_start, TOO_BIG_32),
        0,
    )
    if count < TOO_MANY_16 and max(directory_size, directory_start) < TOO_BIG_32:
        return end
    end64 = _END64.pack(
        b"PK\x06\x06",
        _END64.size - 12,
        MADE_ON_UNIX | VERSION_ZIP64,
        VERSION_ZIP64,
        0,
        0,
        count,
        count,
        directory_size,
        directory_start,
    )
    return end64 + _LOCATOR.pack(b"PK\x06\x07", 0, directory_start + directory_size, 1) + end
