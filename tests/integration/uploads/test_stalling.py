"""Clients of a real web process that hold a connection and do nothing with it: others are served all the same."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.uploads.live import LiveServer

THREADS = 32
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("live"), REQUEST_HEAD_SECONDS="0.5", ANSWER_STALL_SECONDS="0.5")
    server.prepare(pages=True)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param("GET / HTTP/1.1\r\nHost: localhost\r\n", id="the head of a request and no end of it"),
        pytest.param(
            f"GET {LARGE_FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8, id="requests, their answers not taken"
        ),
        pytest.param("GET /healthz HTTP/1.0\r\n\r\n", id="a last request, and the connection left open"),
    ],
)
def test_as_many_stalled_clients_as_threads_keep_nobody_waiting(server: LiveServer, sent: str) -> None:
    with ExitStack() as open_connections:
        for _ in range(THREADS):
            client = open_connections.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(sent.encode())
        answers = [urllib.request.urlopen(f"{server.url}/healthz", timeout=20) for _ in range(8)]
    assert {answer.status for answer in answers} == {200}
    assert "Traceback" not in server.log.read_text()
