"""A file of any size, one window at a time."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.processing import MemoryEfficientProcessor


class Dribble(io.BytesIO):
    """Gives at most `most` bytes at a time."""

    most = 3

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return super().read(min(size or 0, self.most))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_the_windows_are_the_source_cut_evenly(data: bytes, window: int) -> None:
    windows = list(MemoryEfficientProcessor(window).windows(Dribble(data)))
    assert b"".join(windows) == data
    assert all(len(one) == window for one in windows[:-1])


def test_a_window_holds_whole_items_however_the_source_dribbles() -> None:
    windows = MemoryEfficientProcessor(10, item_bytes=4).windows(Dribble(bytes(20)))
    assert [len(window) for window in windows] == [8, 8, 4]


def test_a_source_that_ends_within_an_item_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 bytes left over"):
        list(MemoryEfficientProcessor(8, item_bytes=4).windows(io.BytesIO(bytes(11))))


def test_a_window_smaller_than_an_item_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 3 bytes holds no item of 4"):
        MemoryEfficientProcessor(3, item_bytes=4)


def test_what_the_transform_gives_is_written_and_counted() -> None:
    sink = io.BytesIO()
    written = MemoryEfficientProcessor(4).process(io.BytesIO(b"abcdefghij"), sink, lambda window: window.upper() + b"-")
    assert (sink.getvalue(), written) == (b"ABCD-EFGH-IJ-", 13)


def test_a_reduction_sees_every_window_in_turn() -> None:
    lengths = MemoryEfficientProcessor(4).reduce(io.BytesIO(bytes(10)), [], lambda seen, w: [*seen, len(w)])
    assert lengths == [4, 4, 2]


def test_no_more_than_a_window_is_asked_for() -> None:
    class Watched(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
            self.largest = max(self.largest, size or 0)
            return super().read(size)

    source = Watched(bytes(1000))
    MemoryEfficientProcessor(64).process(source, io.BytesIO(), bytes)
    assert source.largest == 64


def test_a_processed_file_appears_whole(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abcdefghij")
    MemoryEfficientProcessor(4).process_file(tmp_path / "in", tmp_path / "out", bytes.upper)
    assert (tmp_path / "out").read_bytes() == b"ABCDEFGHIJ"


def test_a_failure_keeps_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abcdefghij")
    (tmp_path / "out").write_bytes(b"before")

    def fail_on_second(window: bytes) -> bytes:
        if window != b"abcd":
            raise ZeroDivisionError
        return window

    with pytest.raises(ZeroDivisionError):
        MemoryEfficientProcessor(4).process_file(tmp_path / "in", tmp_path / "out", fail_on_second)
    assert (tmp_path / "out").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_two_that_write_one_file_at_the_same_time_both_succeed_and_the_last_one_stays(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abcd")

    def another_is_quicker(window: bytes) -> bytes:
        assert MemoryEfficientProcessor(4).process_file(tmp_path / "in", tmp_path / "out", bytes.upper) == 4
        return window

    assert MemoryEfficientProcessor(4).process_file(tmp_path / "in", tmp_path / "out", another_is_quicker) == 4
    assert (tmp_path / "out").read_bytes() == b"abcd"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
