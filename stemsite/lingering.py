"""What becomes of a request's body that an answer did not wait for: read and thrown away for a while.

A server that closes a connection with bytes unread has the kernel reset it, and a reset may overtake the answer: a
browser then shows a broken connection, a proxy says 502, where a sentence said what was wrong. So once the answer is
sent, the rest is received for some time (nginx's `lingering_close`; RFC 9112, section 9.6). Most clients have read the
answer by then and stop sending. gunicorn itself does so for 64 KB.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from separation.uploads.direct import Readable

LONGEST_SECONDS = 10.0
IDLE_SECONDS = 2.0
PIECE = 64 * 1024


def linger(body: Any, source: Readable, client: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
    """Receives what is left of gunicorn's `body` from `source`, for LONGEST_SECONDS, waiting IDLE_SECONDS for more.

    `source` gives what there is, so that a trickle takes no longer either. What has not ended by then has gunicorn
    close the connection. So has a body whose reading was broken off before: where it ends is unknown, and nothing of
    it is read.
    """
    if body.failed:
        return
    try:
        body.failed = not _read_to_its_end(source, client, clock)
    except OSError:  # silent for too long, or gone
        body.failed = True


def _read_to_its_end(source: Readable, client: socket.socket, clock: Callable[[], float]) -> bool:
    deadline, before = clock() + LONGEST_SECONDS, client.gettimeout()
    client.settimeout(IDLE_SECONDS)
    try:
        while clock() < deadline:
            if not source.read(PIECE):
                return True
        return False
    finally:
        client.settimeout(before)
