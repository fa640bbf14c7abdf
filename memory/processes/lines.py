"""Turning a pipe's bytes into lines and tails of bounded size. Owns no pipe."""

MAX_LINE_BYTES = 1 << 20
TAIL_BYTES = 16 * 1024
CUT_MARK = " [cut]"


class LineSplitter:
    """Collects bytes into text lines; a line over `limit` bytes is cut there and its rest thrown away."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> list[str]:
        """The lines completed by `chunk`, without their ends; bad UTF-8 becomes replacement characters."""
        lines = []
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def finish(self) -> list[str]:
        """The last line, if the stream ended without ending it."""
        return [self._take()] if self._partial else []

    def _add(self, piece: bytes) -> None:
        room = self._limit - len(self._partial)
        self._partial += piece[:room]
        self._cut = self._cut or len(piece) > room

    def _take(self) -> str:
        line = self._partial.rstrip(b"\r").decode("utf-8", "replace") + (CUT_MARK if self._cut else "")
        self._partial.clear()
        self._cut = False
        return line


class Tail:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self._limit = limit
        self._content = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._content += chunk[-self._limit :]
        del self._content[: -self._limit]

    def text(self) -> str:
        return self._content.decode("utf-8", "replace")
