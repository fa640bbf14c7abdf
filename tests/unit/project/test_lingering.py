"""What is left of a body when its answer is sent."""

from __future__ import annotations

import itertools
import socket

import pytest

from stemsite.lingering import LONGEST_SECONDS, linger


class Body:
    """Stands in for gunicorn's and for its source: some pieces, then the end, or a client that says nothing more."""

    def __init__(self, pieces: int, *, silent: bool = False, failed: bool = False) -> None:
        self.left, self.silent, self.failed = pieces, silent, failed

    def read(self, size: int) -> bytes:
        if self.left:
            self.left -= 1
            return bytes(size)
        if self.silent:
            raise TimeoutError
        return b""


@pytest.fixture
def client() -> socket.socket:
    return socket.socket()


def test_a_body_is_read_to_its_end_and_the_connection_stays(client: socket.socket) -> None:
    body = Body(1000)
    with client:
        linger(body, body, client)
    assert (body.left, body.failed) == (0, False)


def test_a_body_without_end_is_let_go_after_a_time(client: socket.socket) -> None:
    body, seconds = Body(1000), itertools.count()
    with client:
        linger(body, body, client, clock=lambda: float(next(seconds)))
    assert (body.left, body.failed) == (1000 - LONGEST_SECONDS + 1, True)


def test_a_client_that_falls_silent_is_let_go(client: socket.socket) -> None:
    body = Body(3, silent=True)
    with client:
        linger(body, body, client)
    assert (body.left, body.failed) == (0, True)


def test_a_connection_that_is_closed_already_is_no_error(client: socket.socket) -> None:
    body = Body(3)
    client.close()
    linger(body, body, client)
    assert body.failed


def test_nothing_is_read_of_a_body_that_was_broken_off(client: socket.socket) -> None:
    body = Body(3, failed=True)
    with client:
        linger(body, body, client)
    assert (body.left, body.failed) == (3, True)


def test_the_sockets_own_timeout_comes_back(client: socket.socket) -> None:
    with client:
        client.settimeout(42)
        body = Body(1)
        linger(body, body, client)
        assert client.gettimeout() == 42
