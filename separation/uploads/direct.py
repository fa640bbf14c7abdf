"""Reading a body straight from the client's socket where gunicorn allows it.

gunicorn copies each byte of a body about five times between its buffers, in pieces of up to a megabyte each. For an
upload of gigabytes that is most of the processor time and all of the memory. So what gunicorn has already
buffered is taken from it, the rest is received here, and its count of what is left of the body is kept true, on
which the reuse of the connection depends. Anything but a plain socket and a body of known length is left to it.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from django.http import HttpRequest


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def body_source(request: HttpRequest) -> Readable:
    """The request itself, or a quicker way to the same bytes."""
    body: Any = request.META.get("wsgi.input")
    source = socket_source(body)
    return request if source is None or body.buf.tell() else source


def socket_source(body: Any) -> DirectSource | None:
    """What is left of gunicorn's body, as it comes in: only for a body of known length and a plain socket."""
    try:
        from gunicorn.http.body import Body, LengthReader  # type: ignore[import-untyped]
        from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]
    except ImportError:  # another server
        return None
    reader: Any = getattr(body, "reader", None)
    if type(body) is not Body or type(reader) is not LengthReader:
        return None
    unreader = reader.unreader
    if type(unreader) is not SocketUnreader or type(unreader.sock) is not socket.socket:
        return None
    return DirectSource(reader)


def forbid_reuse(request: HttpRequest) -> None:
    """Has gunicorn close the connection after the answer, as after a body it failed to read itself.

    Needed when reading was broken off: what the client still sends would be taken for its next request.
    """
    body: Any = request.META.get("wsgi.input")
    if hasattr(body, "failed"):
        body.failed = True


class LengthCounter(Protocol):
    """What is needed of gunicorn's LengthReader: `length`, the bytes of the body that are still to be read."""

    length: int
    unreader: Buffered


class Buffered(Protocol):
    """What is needed of gunicorn's SocketUnreader."""

    sock: socket.socket

    def take_buffered(self) -> bytes: ...

    def unread(self, data: bytes, /) -> None: ...


class DirectSource:
    """`read` gives what there is, at most `size` bytes; b"" at the end of the body or of the connection."""

    def __init__(self, reader: LengthCounter) -> None:
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._reader.length)
        if wanted <= 0:
            return b""
        chunk = self._buffered(wanted) or self._reader.unreader.sock.recv(wanted)
        self._reader.length -= len(chunk)
        return chunk

    def _buffered(self, wanted: int) -> bytes:
        """What came along with the head of the request; what is beyond `wanted` goes back."""
        data = self._reader.unreader.take_buffered()
        if len(data) > wanted:
            self._reader.unreader.unread(data[wanted:])
        return data[:wanted]
