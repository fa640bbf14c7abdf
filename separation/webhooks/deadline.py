"""A conversation over a socket that ends at one moment, however the other side spreads its bytes.

A socket's own timeout begins anew with every byte, so a peer that trickles is listened to without end.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any


class Deadline:
    """`seconds` from now on."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        """Seconds until then. Raises TimeoutError when there are none."""
        if (left := self._end - self._clock()) <= 0:
            raise TimeoutError("the exchange took too long")
        return left


class TimedSocket:
    """What http.client needs of a socket. Sending and receiving raise TimeoutError once the deadline is over."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
