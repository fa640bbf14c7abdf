"""Zip archives from known sizes: valid, of the stated length, and the same bytes whatever the range."""

import io
import random
import zipfile
import zlib
from datetime import datetime
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from separation.zips import ZipEntry, ZipLayout, safe_name, unique_names

GIB = 1024**3


def entry(name: str, content: bytes) -> ZipEntry:
    return ZipEntry(name, len(content), zlib.crc32(content), lambda: io.BytesIO(content), datetime(2026, 3, 4, 5, 6, 8))


def whole(layout: ZipLayout) -> bytes:
    return b"".join(layout.iter_range())


def test_python_reads_it_back() -> None:
    layout = ZipLayout([entry("a – ü.wav", b"hello"), entry("b.wav", b""), entry("c.wav", b"x" * 20_000)])
    with zipfile.ZipFile(io.BytesIO(whole(layout))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a – ü.wav", "b.wav", "c.wav"]
        assert archive.read("a – ü.wav") == b"hello"
        assert archive.getinfo("b.wav").date_time == (2026, 3, 4, 5, 6, 8)


def test_the_size_is_known_before_a_byte_is_read() -> None:
    layout = ZipLayout([entry("a.wav", b"hello"), entry("b.wav", b"y" * 9000)])
    assert layout.size == len(whole(layout))


def test_an_archive_of_nothing_is_valid() -> None:
    with zipfile.ZipFile(io.BytesIO(whole(ZipLayout([])))) as archive:
        assert archive.namelist() == []


@given(st.lists(st.binary(max_size=300), max_size=5), st.data())
def test_any_range_is_the_same_bytes_as_the_whole(contents: list[bytes], data: st.DataObject) -> None:
    layout = ZipLayout([entry(f"{i}.bin", content) for i, content in enumerate(contents)])
    start = data.draw(st.integers(0, layout.size))
    end = data.draw(st.integers(start, layout.size + 5))
    assert b"".join(layout.iter_range(start, end)) == whole(layout)[start:end]


class Zeros(io.RawIOBase):
    """A file of zeros of any length that takes no room."""

    def __init__(self, size: int) -> None:
        self.size, self.position = size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = {0: 0, 1: self.position, 2: self.size}[whence] + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = min(size if size >= 0 else self.size, self.size - self.position)
        self.position += size
        return bytes(size)


class Ranges(io.RawIOBase):
    """A seekable file whose bytes are asked of the layout as they are read."""

    def __init__(self, layout: ZipLayout) -> None:
        self.layout, self.position = layout, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = {0: 0, 1: self.position, 2: self.layout.size}[whence] + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = self.layout.size if size < 0 else self.position + size
        found = b"".join(self.layout.iter_range(self.position, end))
        self.position += len(found)
        return found


def zeros(name: str, size: int) -> ZipEntry:
    def opened() -> BinaryIO:
        return Zeros(size)  # type: ignore[return-value]

    return ZipEntry(name, size, 0, opened)


@pytest.mark.parametrize("sizes", [(5 * GIB, 3), (3 * GIB, 3 * GIB, 3), (2**32 - 1, 1), (2**32 - 2, 1)])
def test_members_and_offsets_past_four_gigabytes_are_read_back_right(sizes: tuple[int, ...]) -> None:
    layout = ZipLayout([zeros(f"{i}.wav", size) for i, size in enumerate(sizes)])
    with zipfile.ZipFile(Ranges(layout)) as archive:
        assert [info.file_size for info in archive.infolist()] == list(sizes)
        last = archive.infolist()[-1]
        last.CRC = zlib.crc32(bytes(last.file_size))
        assert archive.read(last) == bytes(last.file_size)


def test_members_past_sixty_five_thousand_are_counted() -> None:
    layout = ZipLayout([entry(f"{i}", b"") for i in range(65_536)])
    with zipfile.ZipFile(io.BytesIO(whole(layout))) as archive:
        assert len(archive.infolist()) == 65_536


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nb\0.wav", "ab.wav"),
        ("C:\\x.wav", "C__x.wav"),
        ("evil\u202egpj.wav", "evilgpj.wav"),
        ("...", "file"),
        ("nul.wav", "_nul.wav"),
        ("x" * 300 + ".flac", "x" * 235 + ".flac"),
        ("あ" * 100 + ".flac", "あ" * 78 + ".flac"),
        ("あ" * 100, "あ" * 80),
    ],
)
def test_a_member_name_cannot_leave_its_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_equal_names_are_told_apart() -> None:
    assert unique_names(["a.wav", "A.wav", "a.wav"]) == ("a.wav", "A (2).wav", "a (3).wav")


def test_the_etag_changes_with_the_content() -> None:
    content = random.Random(1).randbytes(10)
    assert ZipLayout([entry("a", content)]).etag == ZipLayout([entry("a", content)]).etag
    assert ZipLayout([entry("a", content)]).etag != ZipLayout([entry("a", content + b".")]).etag
