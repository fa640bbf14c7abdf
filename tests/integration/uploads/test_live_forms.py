"""Bodies to a real web process over real sockets that cuts off slow clients soon: endless ones, trickles, clients that
vanish."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.uploads.live import Answer, LiveServer, Wire, read_answer, soon

SIGN_IN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_user("ada"))
print(client.cookies["sessionid"].value)
"""
CSRF = "x" * 32
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TOKEN = f'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{CSRF}\r\n'.encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("live"), UPLOAD_STALL_SECONDS="2")
    server.prepare(pages=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def session(server: LiveServer) -> str:
    return server.manage("shell", "-v", "0", "-c", SIGN_IN)


@contextmanager
def posting(server: LiveServer, path: str, length: int, session: str = "") -> Iterator[socket.socket]:
    """A connection on which the head of a multipart form has been sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken={CSRF}; sessionid={session}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        yield connection


def answer_to_a_trickle(connection: socket.socket) -> Answer:
    connection.settimeout(0.2)
    for _ in range(300):
        with suppress(TimeoutError):
            if connection.recv(1, socket.MSG_PEEK):
                break
        connection.sendall(b"x")
    connection.settimeout(60)
    return read_answer(connection)


def stored(server: LiveServer) -> list[Path]:
    return sorted((server.data_dir / "staging" / "multipart").iterdir())


@pytest.mark.parametrize("path", ["/login/", "/admin/login/", "/logout/", "/api/problems/busy/", "/metrics"])
def test_an_endless_file_of_a_stranger_is_refused_before_any_of_it_is_stored(
    server: LiveServer, session: str, path: str
) -> None:
    with posting(server, path, 40_000_000_000) as connection:
        connection.sendall(FILE + bytes(1_000_000))
        assert read_answer(connection).status == 413
    assert stored(server) == []


def test_a_trickling_form_of_a_stranger_is_cut_off(server: LiveServer, session: str) -> None:
    with posting(server, "/login/", 100_000) as connection:
        assert answer_to_a_trickle(connection).status == 400


def test_a_trickling_upload_form_is_cut_off_and_said_to_be_too_slow(server: LiveServer, session: str) -> None:
    with posting(server, "/", 100_000, session) as connection:
        connection.sendall(TOKEN + FILE)
        answer = answer_to_a_trickle(connection)
    assert (answer.status, b"did not arrive whole" in answer.body) == (400, True)
    assert stored(server) == []


def test_an_upload_form_whose_sender_vanishes_leaves_nothing(server: LiveServer, session: str) -> None:
    with posting(server, "/", 10_000_000, session) as connection:
        connection.sendall(TOKEN + FILE + bytes(3_000_000))
        assert soon(lambda: bool(stored(server)))
    assert soon(lambda: stored(server) == [])


@pytest.fixture(scope="module")
def wire(server: LiveServer) -> Wire:
    return Wire(server, server.add_user("bob"))


def test_a_trickling_upload_is_cut_off_with_what_arrived(server: LiveServer, wire: Wire) -> None:
    path = wire.create(100_000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="100000") as connection:
        answer = answer_to_a_trickle(connection)
    offset = int(answer.headers["upload-offset"])
    assert (answer.status, wire.offset(path)) == (408, offset) and offset > 0
    assert server.part(path) == b"x" * offset


def test_trickling_json_is_cut_off(wire: Wire) -> None:
    kind = "application/json"
    with wire.open("POST", "/api/v1/estimates/", Content_Type=kind, Content_Length="100000") as connection:
        answer = answer_to_a_trickle(connection)
    assert (answer.status, b"malformed_body" in answer.body) == (400, True)
