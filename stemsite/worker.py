"""gunicorn's worker of threads, none of which waits without end for a client, and its main loop for none at all.

A few dozen connections that begin a request and never finish its head, or that take nothing of their answer, would hold
all threads, and with them the service. One that does not hang up after its answer would hold the main loop, which
accepts all others, for two seconds. Owns the time that each may take. Bodies are bounded by `separation.uploads.body`.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

CLOSED = object()
"""What a thread hands to the main loop when it has closed the connection."""


class PatientWorker(ThreadWorker):
    """Gives a client REQUEST_HEAD_SECONDS for the head of a request, ANSWER_STALL_SECONDS to take some of an answer."""

    def init_process(self) -> None:
        self._patience = float(settings.REQUEST_HEAD_SECONDS)
        self._heads: dict[int, tuple[socket.socket, float]] = {}  # by the thread that waits for one
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """In a thread: one request of a connection, from its first byte on; and its end, if it is the last one."""
        bound_sending(conn.sock, float(settings.ANSWER_STALL_SECONDS))
        self._heads[threading.get_ident()] = (conn.sock, time.monotonic() + self._patience)
        try:
            kept = super().handle(conn)
        finally:
            self._heads.pop(threading.get_ident(), None)
        if kept:
            return kept
        conn.close(graceful=True)
        return CLOSED

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """In the main loop, after the thread: the connection is kept for another request, or gone."""
        if not fs.cancelled() and fs.exception() is None and fs.result() is CLOSED:
            self.nr_conns -= 1
        else:
            super().finish_request(conn, fs)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """In the same thread: the head is there."""
        self._heads.pop(threading.get_ident(), None)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError as error:  # gunicorn passes over a connection that was reset
            raise ConnectionResetError(errno.ECONNRESET, "the client takes nothing of its answer") from error

    def murder_pending(self) -> None:
        """In the main loop, at least once a second."""
        super().murder_pending()
        now = time.monotonic()
        for client, deadline in list(self._heads.values()):
            if now > deadline:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)  # its thread finds that the client has ended


def bound_sending(client: socket.socket, seconds: float) -> None:
    """Let a wait for `client` to take more raise BlockingIOError after so many seconds.

    The kernel's own limit: one set with `settimeout` would be for a whole piece, and for receiving too. It wakes a
    sender only when a third of megabytes of buffers has been taken: at 20 KB/s that is a minute, so the limit is long.
    """
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
