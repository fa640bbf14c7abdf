"""Writing early: the kernel is told of all but the last bytes, once each, and the file is the same."""

import io
from pathlib import Path

import pytest

from memory import writeback
from memory.conf import MIB
from memory.streaming import StreamingFileHandler


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges that the kernel was asked to write, each with its answer checked."""
    ranges: list[tuple[int, int]] = []
    kernel_call = writeback._sync_file_range

    def call(descriptor: int, start: int, length: int, flags: int) -> int:
        ranges.append((start, length))
        answer = kernel_call(descriptor, start, length, flags) if kernel_call else 0
        assert answer == 0
        return answer

    monkeypatch.setattr(writeback, "_sync_file_range", call)
    return ranges


def test_every_whole_step_is_begun_once_and_in_order(begun: list[tuple[int, int]], tmp_path: Path) -> None:
    data = bytes(3 * MIB + 5)
    StreamingFileHandler(MIB // 4).append(io.BytesIO(data), tmp_path / "a", offset=0, limit=len(data), early=True)
    assert begun == [(0, MIB), (MIB, MIB), (2 * MIB, MIB)]


def test_it_begins_where_the_file_stood(begun: list[tuple[int, int]], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before")
    StreamingFileHandler(MIB).append(io.BytesIO(bytes(MIB)), tmp_path / "a", offset=6, limit=MIB, early=True)
    assert begun == [(6, MIB)]
    assert (tmp_path / "a").read_bytes() == b"before" + bytes(MIB)


def test_a_caller_who_does_not_ask_gets_none(begun: list[tuple[int, int]], tmp_path: Path) -> None:
    StreamingFileHandler(MIB).append(io.BytesIO(bytes(2 * MIB)), tmp_path / "a", offset=0, limit=2 * MIB)
    assert begun == []


def test_a_system_without_the_call_writes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "_sync_file_range", None)
    StreamingFileHandler(MIB).append(io.BytesIO(bytes(2 * MIB)), tmp_path / "a", offset=0, limit=2 * MIB, early=True)
    assert (tmp_path / "a").stat().st_size == 2 * MIB
