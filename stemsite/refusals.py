"""What gunicorn refuses by itself, as problem documents like every other error of the API.

Malformed request lines, lengths that are none, headers of 64 KB: these never become a request for Django, and gunicorn
would answer them with a page of HTML.
"""

from __future__ import annotations

import json
import socket

from gunicorn import util  # type: ignore[import-untyped]

CODES = {414: "uri_too_long", 431: "headers_too_large", 500: "internal_error"}
LONGEST_DETAIL = 200


def install() -> None:
    """From here on gunicorn's own refusals in this process are problem documents."""
    util.write_error = refuse


def refuse(client: socket.socket, status: int, reason: str, message: str) -> None:
    """Stands in for gunicorn's `write_error`: answers and leaves closing to gunicorn."""
    util.write_nonblock(client, answer(status, reason, message))


def answer(status: int, reason: str, message: str) -> bytes:
    """The whole response. `message` is gunicorn's word on what is wrong; it may quote the request."""
    from separation.api.problems import MEDIA_TYPE, Problem

    problem = Problem(status, CODES.get(status, "bad_request"), message[:LONGEST_DETAIL] if status < 500 else "")
    body = json.dumps(problem.as_dict()).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body
