"""Which bytes a Range header asks for."""

import pytest

from separation.api.ranges import Span, Unsatisfiable, requested_span


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=90-", Span(90, 100)),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=50-1000", Span(50, 100)),
        ("Bytes = 1-2", Span(1, 3)),
        ("items=0-5", None),
        ("bytes", None),
        ("bytes=0-9,10-19", Span(0, 20)),
        ("bytes=5-9, 0-6", Span(0, 10)),
        ("bytes=0-9,200-", Span(0, 10)),
        ("bytes=0-1,50-60", None),
    ],
)
def test_a_header_asks_for_one_stretch_or_for_everything(header: str | None, span: Span | None) -> None:
    assert requested_span(header, 100) == span


@pytest.mark.parametrize(
    "header",
    [
        "bytes=100-",
        "bytes=100-200",
        "bytes=-0",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=-",
        "bytes=",
        "bytes=1",
        "bytes=+1-2",
        "bytes=٣-٤",
        "bytes=1-2-3",
        "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 1000, 2)),
        "bytes=" + "9" * 40 + "-",
    ],
)
def test_nonsense_and_what_lies_beyond_the_end_cannot_be_served(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        requested_span(header, 100)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_an_empty_file_has_no_ranges(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        requested_span(header, 0)
