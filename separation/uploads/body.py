"""A request body read with care: bounded reads, an end to trickling clients, and giving way when asked.

A thread that waits for a silent client cannot look at anything else. So one watchdog thread per process looks
after all bodies being read, and ends a wait by shutting the receiving side of the client's socket: the read
then returns what had arrived, as if the client had closed, and an answer can still be sent.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from django.http import HttpRequest

from separation.services.numbers import number
from separation.uploads.direct import Readable, body_source, forbid_reuse

SMALLEST_READ = 64 * 1024
LARGEST_READ = 256 * 1024  # more is no faster, and each thread that ever read so much keeps that much
QUICK_SECONDS, SLOW_SECONDS = 0.25, 2.0
WATCH_SECONDS = 0.1

SUPERSEDED = "upload_superseded"
TOO_SLOW = "upload_too_slow"
INCOMPLETE = "upload_incomplete_body"


class GuardedBody:
    """`read` gives the body's bytes and b"" at its end, which comes early for the `ended` reason.

    Each read asks for as much as the client delivers in a moment, from 64 to 256 KiB. A client that
    delivers less than 64 KiB in `stall_seconds` is cut off; so is one whose `stop_file`, if any, appears. `on_break`
    is called at the end of the block if it ended early.
    """

    def __init__(
        self,
        source: Readable,
        length: int,
        *,
        stop_file: Path | None,
        stall_seconds: float,
        client: socket.socket | None = None,
        on_break: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.received = 0
        self.ended = ""
        self.deadline = clock() + stall_seconds
        self._source, self._length = source, length
        self._stop_file, self._stall_seconds = stop_file, stall_seconds
        self._client, self._clock, self._on_break = client, clock, on_break
        self._step = SMALLEST_READ
        self._counted = 0
        self._reading = False

    @classmethod
    def of(cls, request: HttpRequest, length: int, *, stop_file: Path | None, stall_seconds: float) -> GuardedBody:
        """The body of a request; under gunicorn also one that can be interrupted while it waits."""
        client = request.META.get("gunicorn.socket")
        source = body_source(request)
        on_break = partial(forbid_reuse, request)
        return cls(source, length, stop_file=stop_file, stall_seconds=stall_seconds, client=client, on_break=on_break)

    def __enter__(self) -> GuardedBody:
        if self._client is not None:
            _watchdog.add(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _watchdog.discard(self)
        if self.ended:
            self._on_break()

    def read(self, size: int, /) -> bytes:
        if self.ended or self.received == self._length:
            return b""
        self._begin()
        if self._must_stop():
            return self._end(SUPERSEDED)
        began = self._clock()
        chunk = self._take(min(size, self._step, self._length - self.received))
        self._adapt(self._clock() - began)
        self._note(len(chunk))
        return chunk or self._end(INCOMPLETE)

    def _note(self, count: int) -> None:
        """Counts what came; enough of it since the last time gives the client new time."""
        self.received += count
        if self.received - self._counted >= SMALLEST_READ:
            self._counted, self.deadline = self.received, self._clock() + self._stall_seconds

    def _take(self, size: int) -> bytes:
        """A connection that breaks looks the same as one that closes."""
        try:
            return self._source.read(size)
        except OSError:
            return b""

    def _begin(self) -> None:
        """From here on the body can be made to give way: until then the stop file is this request's own wish."""
        if not self._reading:
            self._reading, self.deadline = True, self._clock() + self._stall_seconds

    def look(self) -> None:
        """What the watchdog does: ends the wait of a body that has to give way, or waits too long."""
        if not self._reading:
            return
        if self._must_stop():
            self._interrupt(SUPERSEDED)
        elif self._clock() > self.deadline:
            self._interrupt(TOO_SLOW)

    def _must_stop(self) -> bool:
        return self._stop_file is not None and self._stop_file.exists()

    def _interrupt(self, reason: str) -> None:
        self.ended = self.ended or reason
        if self._client is not None:
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_RD)

    def _adapt(self, seconds: float) -> None:
        if seconds < QUICK_SECONDS:
            self._step = min(self._step * 2, LARGEST_READ)
        elif seconds > SLOW_SECONDS:
            self._step = max(self._step // 2, SMALLEST_READ)

    def _end(self, reason: str) -> bytes:
        self.ended = self.ended or reason
        return b""


class _Watchdog:
    """Looks at every body being read, from a thread that lives while there is one."""

    def __init__(self) -> None:
        self._bodies: set[GuardedBody] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, body: GuardedBody) -> None:
        with self._lock:
            self._bodies.add(body)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="upload-watchdog", daemon=True)
                self._thread.start()

    def discard(self, body: GuardedBody) -> None:
        with self._lock:
            self._bodies.discard(body)

    def _watch(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            with self._lock:
                bodies = list(self._bodies)
                if not bodies:
                    self._thread = None
                    return
            for body in bodies:
                body.look()


_watchdog = _Watchdog()


def announced(request: HttpRequest) -> int:
    """The length of the body by the request's own word; 0 without one, as for Django."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def read_short(request: HttpRequest, most: int) -> tuple[bytes, str]:
    """The body, or the first `most` + 1 bytes of a longer one; and the reason if it ended early."""
    pieces, stall = [], number("UPLOAD_STALL_SECONDS")
    with GuardedBody.of(request, announced(request), stop_file=None, stall_seconds=stall) as body:
        while body.received <= most and (piece := body.read(most + 1 - body.received)):
            pieces.append(piece)
    return b"".join(pieces), body.ended
