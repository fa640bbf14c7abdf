"""Uploads to a real web process over real sockets: disconnects, rivals, kills, and tuspy as it is."""

from __future__ import annotations

import hashlib
import io
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tusclient.client import TusClient

from tests.integration.uploads.live import Answer, LiveServer, Wire, read_answer, soon
from tests.integration.uploads.sounds import wav_bytes

LARGE = 20_000_000
BIG = wav_bytes(1.0) + random.Random(5).randbytes(6 * 1024 * 1024)
"""A WAV with a long, meaningless tail: 6 MiB that a probe still reads as audio."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("live"))
    server.prepare()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def token(server: LiveServer) -> str:
    return server.add_user("owner")


@pytest.fixture
def wire(server: LiveServer, token: str) -> Wire:
    return Wire(server, token)


def staged(server: LiveServer) -> list[Path]:
    return sorted((server.data_dir / "staging" / "testhost" / "uploads").glob("*"))


def track_sha256(wire: Wire, answer: Answer) -> str:
    track = wire.ask("GET", f"/api/v1/tracks/{answer.headers['stemsite-track']}/")
    return str(json.loads(track.body)["sha256"])


def test_a_body_that_ends_early_is_kept_and_called_incomplete(wire: Wire, server: LiveServer) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="8") as connection:
        connection.sendall(b"abc")
        connection.shutdown(socket.SHUT_WR)
        answer = read_answer(connection)
    assert (answer.status, answer.headers["upload-offset"]) == (400, "3")
    assert b"upload_incomplete_body" in answer.body
    assert (wire.offset(path), server.part(path)) == (3, b"abc")


def test_a_client_that_vanishes_loses_nothing_that_arrived(wire: Wire, server: LiveServer) -> None:
    path = wire.create(1_000_000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="1000000") as connection:
        connection.sendall(b"x" * 300_000)
    assert soon(lambda: server.part(path) == b"x" * 300_000)
    assert wire.offset(path) == 300_000


def test_a_creation_that_broke_off_in_its_body_goes_on_under_its_key(wire: Wire, server: LiveServer) -> None:
    whole = {"Upload_Length": "10", "Idempotency_Key": "broken", "Content_Length": "10"}
    whole["Content_Type"] = "application/offset+octet-stream"
    with wire.open("POST", "/api/v1/uploads/", **whole) as connection:
        connection.sendall(b"abcd")
        connection.shutdown(socket.SHUT_WR)
        broken = read_answer(connection)
    again = wire.ask("POST", "/api/v1/uploads/", b"abcdefghij", **whole)
    path = again.headers["location"]
    assert (broken.status, again.status, broken.headers["location"]) == (400, 201, path)
    assert (again.headers["upload-offset"], server.part(path)) == ("4", b"abcd")


def test_a_creation_sent_again_takes_over_from_a_connection_that_hangs(wire: Wire, server: LiveServer) -> None:
    whole = {"Upload_Length": "10", "Idempotency_Key": "hanging", "Content_Length": "10"}
    whole["Content_Type"] = "application/offset+octet-stream"
    with wire.open("POST", "/api/v1/uploads/", **whole) as connection:
        connection.sendall(b"wxyz")
        assert soon(lambda: any(path.read_bytes() == b"wxyz" for path in staged(server)))
        again = wire.ask("POST", "/api/v1/uploads/", b"wxyz567890", **whole)
        assert b"upload_superseded" in read_answer(connection).body
    assert (again.status, again.headers["upload-offset"]) == (201, "4")


def test_a_stale_connection_gives_way_to_a_client_that_resumes(wire: Wire, server: LiveServer) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="10") as stale:
        stale.sendall(b"abcd")
        assert soon(lambda: server.part(path) == b"abcd")
        assert wire.offset(path) == 4
        answer = read_answer(stale)
    assert (answer.status, answer.headers["upload-offset"]) == (409, "4")
    assert b"upload_superseded" in answer.body
    assert wire.patch(path, 4, b"ef").status == 204


def test_what_a_superseded_client_still_sends_is_not_taken_for_a_request(wire: Wire) -> None:
    path = wire.create(1000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="1000") as stale:
        stale.sendall(b"abcd")
        assert soon(lambda: wire.server.part(path) == b"abcd")
        assert wire.offset(path) == 4
        smuggled = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 500}\r\n\r\n".encode()
        with suppress(ConnectionError):
            stale.sendall(smuggled)
        received = b""
        with suppress(ConnectionError):
            while piece := stale.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 409")


def test_a_client_that_sends_all_of_a_large_body_first_still_reads_the_refusal(wire: Wire) -> None:
    path = wire.create(LARGE)
    answer = wire.patch(path, 7, bytes(LARGE - 7))
    assert (answer.status, json.loads(answer.body)["code"]) == (409, "offset_mismatch")


def test_a_connection_is_of_use_after_a_refusal_in_the_middle_of_a_body(wire: Wire) -> None:
    path = wire.create(LARGE)
    with wire.open("PATCH", path, Upload_Offset="7", Content_Length=str(LARGE - 7)) as connection:
        connection.sendall(bytes(LARGE - 7))
        assert read_answer(connection).status == 409
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(connection).status == 200


def test_a_refused_client_that_trickles_on_is_let_go(wire: Wire) -> None:
    path = wire.create(LARGE)
    with wire.open("PATCH", path, Upload_Offset="7", Content_Length=str(LARGE - 7)) as connection:
        assert read_answer(connection).status == 409
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < began + 60:
                connection.sendall(b"x")
                time.sleep(0.2)
    assert time.monotonic() < began + 30


def test_rivals_at_one_offset_leave_one_truth(wire: Wire, server: LiveServer) -> None:
    path = wire.create(4_000_000)
    bodies = [bytes([letter]) * 1_000_000 for letter in b"abcd"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: wire.patch(path, 0, body), bodies))
    offset, kept = wire.offset(path), server.part(path)
    assert len(kept) == offset
    assert {answer.status for answer in answers} <= {204, 409, 423}
    winner = bodies[[body[:1] for body in bodies].index(kept[:1])]
    assert kept[: len(winner)] == winner[:offset]


def test_delete_ends_a_running_patch_and_leaves_no_file(wire: Wire, server: LiveServer) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="10") as running:
        running.sendall(b"abcd")
        assert soon(lambda: server.part(path) == b"abcd")
        assert wire.ask("DELETE", path).status == 204
        assert b"upload_superseded" in read_answer(running).body
    assert wire.ask("HEAD", path).status == 410
    assert not [file for file in staged(server) if file.stem == path.split("/")[-2]]


def test_a_chunked_body_is_refused(wire: Wire) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0", Transfer_Encoding="chunked", Connection="close") as connection:
        connection.sendall(b"3\r\nabc\r\n0\r\n\r\n")
        answer = read_answer(connection)
    assert answer.status == 411


def test_an_offset_given_twice_is_refused(wire: Wire) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0\r\nUpload-Offset: 0", Content_Length="1") as connection:
        connection.sendall(b"a")
        assert read_answer(connection).status == 400


def test_what_follows_a_body_is_no_part_of_it(wire: Wire, server: LiveServer) -> None:
    path = wire.create(10)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="3") as connection:
        connection.sendall(b"abc" + b"def\r\n\r\n")
        received = b""
        while piece := connection.recv(65536):
            received += piece
    first, second = received.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"204", b"400")
    assert (wire.offset(path), server.part(path)) == (3, b"abc")


@pytest.mark.parametrize(
    ("line", "header", "status", "code"),
    [
        ("POST /api/v1/uploads/", "Upload-Metadata: a " + "A" * 65536, 431, "headers_too_large"),
        ("POST /api/v1/uploads/", "Content-Length: -1", 400, "bad_request"),
        ("POST /api/v1/uploads/", "Content-Length: +5", 400, "bad_request"),
        ("POST /api/v1/uploads/", "Content-Length: 5\r\nContent-Length: 3", 400, "bad_request"),
        ("POST /api/v1/uploads/", "Content-Length: 5\r\nTransfer-Encoding: chunked", 400, "bad_request"),
        ("GET /api/v1/jobs/\0/", "X-Nothing: 1", 400, "bad_request"),
        ("GET /api/v1/jobs/", "X-Nothing: a\0b", 400, "bad_request"),
        ("GET /api/v1/jobs/?cursor=" + "x" * 5000, "X-Nothing: 1", 414, "uri_too_long"),
        ("nonsense", "X-Nothing: 1", 400, "bad_request"),
    ],
)
def test_what_never_becomes_a_request_is_a_problem_document_too(
    wire: Wire, server: LiveServer, line: str, header: str, status: int, code: str
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
        answer = read_answer(connection)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["application/json; a*=x''y", "multipart/form-data; boundary*=x''y"])
def test_a_content_type_that_cannot_be_read_is_refused(wire: Wire, kind: str) -> None:
    assert wire.ask("POST", "/api/v1/jobs/", b"{}", Content_Type=kind).status == 415


@pytest.mark.parametrize("path", ["/api/v1/models/", "/api/v1/jobs/not-there/"])
def test_an_answer_to_head_has_no_body(wire: Wire, path: str) -> None:
    assert wire.ask("HEAD", path).body == b""


def test_a_file_in_one_multipart_request_leaves_nothing_in_staging(wire: Wire, server: LiveServer) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    before = staged(server)
    answer = wire.ask(
        "POST", "/api/v1/tracks/", head + BIG + b"\r\n--b--\r\n", Content_Type="multipart/form-data; boundary=b"
    )
    assert (answer.status, staged(server)) == (201, before)


def test_a_multipart_client_that_vanishes_leaves_nothing(wire: Wire, server: LiveServer) -> None:
    before = staged(server)
    kind = "multipart/form-data; boundary=b"
    with wire.open("POST", "/api/v1/tracks/", Content_Type=kind, Content_Length="1000000") as connection:
        connection.sendall(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"x" * 9999
        )
        assert soon(lambda: staged(server) != before)
    assert soon(lambda: staged(server) == before)


def test_tuspy_uploads_as_it_is(server: LiveServer, token: str, wire: Wire) -> None:
    client = TusClient(f"{server.url}/api/v1/uploads/", headers={"Authorization": f"Bearer {token}"})
    uploader = client.uploader(
        file_stream=io.BytesIO(BIG), chunk_size=2**20, metadata={"filename": "tuspy.wav"}, upload_checksum=True
    )
    uploader.upload()
    answer = wire.ask("HEAD", uploader.url.removeprefix(server.url))
    assert track_sha256(wire, answer) == hashlib.sha256(BIG).hexdigest()


def test_tuspy_resumes_where_it_was_stopped(server: LiveServer, token: str, wire: Wire) -> None:
    client = TusClient(f"{server.url}/api/v1/uploads/", headers={"Authorization": f"Bearer {token}"})
    first = client.uploader(file_stream=io.BytesIO(BIG), chunk_size=2**20)
    first.upload(stop_at=3 * 2**20)
    second = client.uploader(file_stream=io.BytesIO(BIG), chunk_size=2**20, url=first.url)
    assert second.offset == 3 * 2**20
    second.upload()
    answer = wire.ask("HEAD", first.url.removeprefix(server.url))
    assert track_sha256(wire, answer) == hashlib.sha256(BIG).hexdigest()


def test_tuspy_survives_a_kill_of_the_server(server: LiveServer, token: str, wire: Wire) -> None:
    client = TusClient(f"{server.url}/api/v1/uploads/", headers={"Authorization": f"Bearer {token}"})
    uploader = client.uploader(file_stream=io.BytesIO(BIG), chunk_size=2**20, retries=10, retry_delay=1)
    uploader.upload(stop_at=2 * 2**20)
    server.kill()
    resumed = threading.Thread(target=uploader.upload)
    resumed.start()
    server.start()
    resumed.join(60)
    answer = wire.ask("HEAD", uploader.url.removeprefix(server.url))
    assert track_sha256(wire, answer) == hashlib.sha256(BIG).hexdigest()


def test_many_uploads_at_once_all_arrive_whole(wire: Wire) -> None:
    def upload(number: int) -> bool:
        data = wav_bytes(0.5) + random.Random(number).randbytes(500_000)
        path = wire.create(len(data))
        assert wire.patch(path, 0, data[:250_000]).status == 204
        return track_sha256(wire, wire.patch(path, 250_000, data[250_000:])) == hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(upload, range(16)))


def test_a_killed_web_process_loses_no_committed_byte(server: LiveServer, wire: Wire) -> None:
    path, seed = wire.create(len(BIG)), random.Random(7)
    for _ in range(4):
        offset = wire.offset(path)
        sender = threading.Thread(target=_send_slowly, args=(wire, path, offset), daemon=True)
        sender.start()
        time.sleep(seed.uniform(0.05, 0.3))
        server.kill()
        sender.join()
        server.start()
        assert wire.offset(path) >= offset
        assert server.part(path)[: wire.offset(path)] == BIG[: wire.offset(path)]
        step = wire.patch(path, wire.offset(path), BIG[wire.offset(path) :][:500_000])
        assert step.status == 204
    answer = wire.patch(path, wire.offset(path), BIG[wire.offset(path) :])
    assert track_sha256(wire, answer) == hashlib.sha256(BIG).hexdigest()


def _send_slowly(wire: Wire, path: str, offset: int) -> None:
    """Part of a PATCH, in small pieces until the server is gone."""
    rest = BIG[offset:]
    try:
        with wire.open("PATCH", path, Upload_Offset=str(offset), Content_Length=str(len(rest))) as connection:
            for start in range(0, len(rest), 50_000):
                connection.sendall(rest[start : start + 50_000])
                time.sleep(0.01)
    except OSError:
        return
