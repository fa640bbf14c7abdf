"""Bytes in transit: kept whole, in bounded memory, and cleaned up."""

import errno
import hashlib
import io
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from memory.conf import MIB
from memory.streaming import StreamingFileHandler


class Zeros:
    """`size` zero bytes that exist only while they are read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


class Dribble(io.BytesIO):
    """Gives at most three bytes at a time, as a slow network does."""

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return super().read(min(size or 0, 3))


class Broken(io.BytesIO):
    """Fails once its bytes are through."""

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        if not (data := super().read(size)):
            raise ConnectionResetError("the client has gone")
        return data


class Crc:
    value = 0

    def update(self, data: bytes) -> None:
        self.value = zlib.crc32(data, self.value)


@pytest.fixture
def handler() -> StreamingFileHandler:
    return StreamingFileHandler(4)


def test_the_chunk_size_is_the_setting_unless_told_otherwise(settings: Settings) -> None:
    settings.STREAMING_CHUNK_SIZE = 4096
    assert StreamingFileHandler().chunk_size == 4096


def test_appending_at_the_offset_continues_the_file(handler: StreamingFileHandler, tmp_path: Path) -> None:
    target = tmp_path / "a.part"
    assert handler.append(io.BytesIO(b"hello "), target, offset=0, limit=99) == 6
    assert handler.append(io.BytesIO(b"world"), target, offset=6, limit=99) == 5
    assert target.read_bytes() == b"hello world"


def test_bytes_behind_the_offset_are_an_interrupted_append_and_are_cut_off(
    handler: StreamingFileHandler, tmp_path: Path
) -> None:
    target = tmp_path / "a.part"
    target.write_bytes(b"hello and what was never committed")
    handler.append(io.BytesIO(b"!"), target, offset=5, limit=99)
    assert target.read_bytes() == b"hello!"


def test_an_offset_behind_the_end_is_refused_and_changes_nothing(handler: StreamingFileHandler, tmp_path: Path) -> None:
    target = tmp_path / "a.part"
    target.write_bytes(b"abc")
    with pytest.raises(ValueError, match="3 bytes, fewer than the offset 4"):
        handler.append(io.BytesIO(b"x"), target, offset=4, limit=9)
    assert target.read_bytes() == b"abc"


def test_no_more_than_the_limit_is_read_or_written(handler: StreamingFileHandler, tmp_path: Path) -> None:
    source = io.BytesIO(b"0123456789")
    assert handler.append(source, tmp_path / "a", offset=0, limit=7) == 7
    assert source.read() == b"789"


def test_short_reads_do_not_end_the_source(handler: StreamingFileHandler, tmp_path: Path) -> None:
    assert handler.append(Dribble(b"0123456789"), tmp_path / "a", offset=0, limit=99) == 10


def test_what_arrived_before_the_client_went_stays_on_disk(handler: StreamingFileHandler, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        handler.append(Broken(b"0123456789"), tmp_path / "a", offset=0, limit=99)
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_each_chunk_is_shown_once_and_in_order(handler: StreamingFileHandler, tmp_path: Path) -> None:
    seen: list[bytes] = []
    handler.append(io.BytesIO(b"0123456789"), tmp_path / "a", offset=0, limit=99, on_chunk=seen.append)
    assert seen == [b"0123", b"4567", b"89"]


def test_a_partly_accepted_write_is_completed(
    handler: StreamingFileHandler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Narrow(io.FileIO):
        def write(self, data: object) -> int:  # type: ignore[override]
            return super().write(memoryview(data)[:1])  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fdopen", lambda descriptor, *_, **__: Narrow(descriptor, "r+b"))
    handler.append(io.BytesIO(b"0123456789"), tmp_path / "a", offset=0, limit=99)
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_memory_stays_flat_whatever_the_size(tmp_path: Path) -> None:
    handler = StreamingFileHandler(65536)
    tracemalloc.start()
    try:
        handler.append(Zeros(64 * MIB), tmp_path / "a", offset=0, limit=64 * MIB)
        handler.sha256(tmp_path / "a")
        with (tmp_path / "a").open("rb") as file:
            sum(len(chunk) for chunk in handler.iter_range(file, 1, 64 * MIB))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_a_copy_is_equal_to_its_source(handler: StreamingFileHandler, tmp_path: Path) -> None:
    assert handler.copy(io.BytesIO(b"0123456789"), tmp_path / "b") == 10
    assert (tmp_path / "b").read_bytes() == b"0123456789"


def test_a_copy_never_overwrites(handler: StreamingFileHandler, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        handler.copy(io.BytesIO(b"yours"), tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_a_copy_that_fails_half_way_leaves_nothing(handler: StreamingFileHandler, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        handler.copy(Broken(b"0123456789"), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_hash_is_that_of_the_whole_file(handler: StreamingFileHandler, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert handler.sha256(tmp_path / "a") == hashlib.sha256(b"0123456789").hexdigest()


def test_several_digests_are_fed_in_one_reading(handler: StreamingFileHandler) -> None:
    digest, crc = hashlib.sha256(), Crc()
    assert handler.feed(io.BytesIO(b"0123456789"), digest, crc) == 10
    assert (digest.digest(), crc.value) == (hashlib.sha256(b"0123456789").digest(), zlib.crc32(b"0123456789"))


@pytest.mark.parametrize(("start", "length", "expected"), [(0, 10, b"0123456789"), (3, 5, b"34567"), (8, 9, b"89")])
def test_a_range_gives_its_bytes_and_closes_the_file(
    handler: StreamingFileHandler, start: int, length: int, expected: bytes
) -> None:
    file = io.BytesIO(b"0123456789")
    assert b"".join(handler.iter_range(file, start, length)) == expected
    assert file.closed


def test_an_abandoned_range_closes_the_file(handler: StreamingFileHandler) -> None:
    file = io.BytesIO(b"0123456789")
    part = handler.iter_range(file, 0, 10)
    next(part)
    part.close()  # type: ignore[attr-defined]
    assert file.closed


def test_publishing_replaces_what_was_there(handler: StreamingFileHandler, tmp_path: Path) -> None:
    temp, final = tmp_path / "new.part", tmp_path / "final"
    temp.write_bytes(b"new")
    final.write_bytes(b"old")
    handler.publish(temp, final)
    assert final.read_bytes() == b"new"
    assert not temp.exists()


def test_publishing_flushes_the_bytes_before_the_name_and_the_name_before_it_returns(
    handler: StreamingFileHandler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "file")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "new.part").write_bytes(b"new")
    handler.publish(tmp_path / "new.part", tmp_path / "final")
    assert steps == ["file", "rename", "folder"]


@pytest.fixture
def every_folder_a_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    real_replace = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, "cross-device")
        return real_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.usefixtures("every_folder_a_file_system")
def test_publishing_across_file_systems_copies_beside_and_renames(
    handler: StreamingFileHandler, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    temp = tmp_path / "new.part"
    temp.write_bytes(b"new")
    handler.publish(temp, tmp_path / "elsewhere" / "final")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["final"]
    assert not temp.exists()


@pytest.mark.usefixtures("every_folder_a_file_system")
def test_two_may_publish_one_file_across_file_systems_at_the_same_time(tmp_path: Path) -> None:
    final, first, second = tmp_path / "elsewhere" / "final", tmp_path / "first", tmp_path / "second"
    final.parent.mkdir()
    first.write_bytes(b"first"), second.write_bytes(b"second")

    class Interrupted(StreamingFileHandler):
        def copy(self, *args: Any, **options: Any) -> int:
            written = super().copy(*args, **options)
            StreamingFileHandler().publish(second, final)
            return written

    Interrupted().publish(first, final)
    assert final.read_bytes() == b"first" and list(final.parent.iterdir()) == [final]


def age(path: Path, seconds: float) -> None:
    os.utime(path, (1_000_000 - seconds, 1_000_000 - seconds), follow_symlinks=False)


def stale(handler: StreamingFileHandler, folder: Path) -> list[str]:
    return [path.name for path in handler.remove_stale(folder, 60, now=lambda: 1_000_000)]


def test_only_old_entries_with_a_temporary_name_are_removed(handler: StreamingFileHandler, tmp_path: Path) -> None:
    for name, seconds in (("old.part", 61), ("new.part", 59), ("old.tmp", 61), ("old.wav", 9999)):
        (tmp_path / name).write_bytes(b"x")
        age(tmp_path / name, seconds)
    assert stale(handler, tmp_path) == ["old.part", "old.tmp"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.part", "old.wav"]


def test_a_folder_is_as_old_as_the_newest_thing_in_it(handler: StreamingFileHandler, tmp_path: Path) -> None:
    for name, seconds in (("idle.tmp", 61), ("busy.tmp", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "inner").write_bytes(b"x")
        age(tmp_path / name / "inner", seconds)
        age(tmp_path / name, 61)
    assert stale(handler, tmp_path) == ["idle.tmp"]


def test_a_stale_link_goes_and_its_target_stays(handler: StreamingFileHandler, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link.part").symlink_to(tmp_path / "precious")
    age(tmp_path / "link.part", 61)
    assert stale(handler, tmp_path) == ["link.part"]
    assert (tmp_path / "precious").is_dir()


def test_a_folder_that_does_not_exist_has_nothing_stale(handler: StreamingFileHandler, tmp_path: Path) -> None:
    assert stale(handler, tmp_path / "absent") == []
