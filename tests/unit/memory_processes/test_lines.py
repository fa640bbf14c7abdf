"""Bytes into lines and tails of bounded size."""

from hypothesis import given
from hypothesis import strategies as st

from memory.processes.lines import CUT_MARK, LineSplitter, Tail

CHUNKS = st.lists(st.binary(max_size=40))


@given(CHUNKS)
def test_lines_do_not_depend_on_how_the_bytes_were_cut(chunks: list[bytes]) -> None:
    split, whole = LineSplitter(), LineSplitter()
    together = [line for chunk in chunks for line in split.feed(chunk)] + split.finish()
    assert together == whole.feed(b"".join(chunks)) + whole.finish()


@given(CHUNKS, st.integers(1, 30))
def test_no_line_is_longer_than_its_limit(chunks: list[bytes], limit: int) -> None:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()
    assert all(len(line.removesuffix(CUT_MARK)) <= limit for line in lines)


def test_a_long_line_is_cut_and_the_next_is_whole() -> None:
    assert LineSplitter(4).feed(b"123456\nabcd\n") == ["1234" + CUT_MARK, "abcd"]


def test_windows_line_ends_are_taken_off() -> None:
    assert LineSplitter().feed(b"one\r\ntwo\n") == ["one", "two"]


@given(CHUNKS, st.integers(1, 30))
def test_a_tail_is_the_end_of_what_was_fed(chunks: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for chunk in chunks:
        tail.feed(chunk)
    assert tail.text() == b"".join(chunks)[-limit:].decode("utf-8", "replace")
