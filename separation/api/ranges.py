"""HTTP ranges (RFC 9110 section 14): which bytes of a file a request is to get. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_RANGES = 8
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)


class Unsatisfiable(Exception):
    """The header asks for nothing that the file has, for nonsense, or for more pieces than are served."""


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end`, the end not included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


def requested_span(header: str | None, size: int) -> Span | None:
    """The part of a file of `size` bytes that a Range header asks for; None for all of it.

    Several ranges that touch are served as one; several that do not, as the whole file, which the RFC allows.
    Another unit than bytes is ignored, as it demands. Raises `Unsatisfiable` for ranges that are malformed,
    reversed, more than eight, or all beyond the end.

    >>> requested_span("bytes=-5", 100)
    Span(start=95, end=100)
    """
    unit, equals, specs = (header or "").partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    pieces = [piece.strip() for piece in specs.split(",") if piece.strip()]
    if not 1 <= len(pieces) <= MOST_RANGES:
        raise Unsatisfiable
    spans = sorted((s for s in (_span(piece, size) for piece in pieces) if s), key=lambda s: s.start)
    if not spans:
        raise Unsatisfiable
    return _joined(spans)


def _span(piece: str, size: int) -> Span | None:
    match = _SPEC.fullmatch(piece)
    if match is None or piece == "-":
        raise Unsatisfiable
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return Span(size - length, size) if length else None
    if last and int(last) < int(first):
        raise Unsatisfiable
    end = min(int(last) + 1, size) if last else size
    return Span(int(first), end) if int(first) < size else None


def _joined(spans: list[Span]) -> Span | None:
    whole = spans[0]
    for span in spans[1:]:
        if span.start > whole.end:
            return None
        whole = Span(whole.start, max(whole.end, span.end))
    return whole
