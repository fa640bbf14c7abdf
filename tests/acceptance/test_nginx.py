"""Stemsite behind a real nginx with the shipped example configuration: TLS, uploads, refusals, downloads."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import socket
from collections.abc import Iterator

import pytest
import requests
from tusclient.client import TusClient

from tests.acceptance.proxy import Nginx, find_nginx
from tests.integration.uploads.live import Answer, LiveServer, Wire, read_answer, soon
from tests.integration.uploads.sounds import wav_bytes

SONG = wav_bytes(1.0) + random.Random(5).randbytes(6 * 1024 * 1024)
MOST = 20_000_000
HELD_BACK = 16 * 1024
"""What nginx passes on only when it is full (its client_body_buffer_size), and loses with the client."""
PASSWORD = "a long enough password"
ADD_PERSON = "from django.contrib.auth.models import User; User.objects.create_user('ada', password={!r})"

ADD_STEM = """
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from separation.models import SeparationJob, Stem, Track
owner, sound = User.objects.get(username="owner"), bytes(range(250)) * 32_000
track = Track.objects.create(owner=owner, original_name="a.wav", file="a.wav", size=1, sha256="0")
job = SeparationJob.objects.create(owner=owner, track=track, model="starter", state="succeeded")
facts = {"format": "wav", "size": len(sound), "sha256": "0", "crc32": 0, "samples": 1, "sample_rate": 44100}
print(Stem.objects.create(job=job, name="vocals", file=ContentFile(sound, "vocals.wav"), **facts).pk)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(
        tmp_path_factory.mktemp("live"), HTTPS="1", ALLOWED_HOSTS="localhost", MAX_UPLOAD_BYTES=str(MOST)
    )
    server.prepare(pages=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nginx(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if find_nginx() is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    with Nginx(tmp_path_factory.mktemp("nginx"), server.url) as running:
        yield running


class SecureWire(Wire):
    """Raw HTTP/1.1 inside TLS, through nginx."""

    def __init__(self, server: LiveServer, token: str, nginx: Nginx) -> None:
        super().__init__(server, token, host=f"localhost:{nginx.port}")
        self.nginx = nginx

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.nginx.port), timeout=self.timeout)
        return self.nginx.trusting().wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def token(server: LiveServer) -> str:
    return server.add_user("owner")


@pytest.fixture
def wire(server: LiveServer, token: str, nginx: Nginx) -> Wire:
    return SecureWire(server, token, nginx)


@pytest.fixture
def browser(nginx: Nginx) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.verify, session.trust_env = str(nginx.certificate), False
        yield session


def code(answer: Answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.body[:300]
    return str(json.loads(answer.body)["code"])


def test_tuspy_uploads_through_it(nginx: Nginx, token: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.certificate))
    client = TusClient(f"{nginx.url}/api/v1/uploads/", headers={"Authorization": f"Bearer {token}"})
    uploader = client.uploader(file_stream=io.BytesIO(SONG), chunk_size=2**20, metadata={"filename": "a.wav"})
    uploader.upload()
    track = wire.ask("HEAD", uploader.url.removeprefix(nginx.url)).headers["stemsite-track"]
    kept = json.loads(wire.ask("GET", f"/api/v1/tracks/{track}/").body)["sha256"]
    assert kept == hashlib.sha256(SONG).hexdigest()


def test_another_client_goes_on_in_the_middle_of_a_piece(wire: Wire) -> None:
    path = wire.create(1_000_000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="1000000") as connection:
        connection.sendall(b"x" * 300_000)
        assert soon(lambda: len(wire.server.part(path)) > 300_000 - HELD_BACK)
        offset = wire.offset(path)
        assert read_answer(connection).status == 409
    assert 300_000 - HELD_BACK < offset <= 300_000
    assert wire.patch(path, offset, b"x" * 1000).headers["upload-offset"] == str(offset + 1000)


def test_a_client_that_vanishes_resumes_where_it_was(wire: Wire) -> None:
    path = wire.create(1_000_000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="1000000") as connection:
        connection.sendall(b"x" * 300_000)
    assert soon(lambda: len(wire.server.part(path)) > 300_000 - HELD_BACK)
    assert 300_000 - HELD_BACK < wire.offset(path) <= 300_000


def test_a_wrong_offset_is_refused_in_the_middle_of_a_large_body(wire: Wire) -> None:
    path = wire.create(MOST)
    answer = wire.patch(path, 7, b"x" * (MOST - 7))
    assert (answer.status, code(answer)) == (409, "offset_mismatch")


def test_a_file_that_is_too_large_is_refused_with_a_problem_document(wire: Wire) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + b"x" * (MOST + 1_000_000) + b"\r\n--b--\r\n"
    answer = wire.ask("POST", "/api/v1/tracks/", body, Content_Type="multipart/form-data; boundary=b")
    assert (answer.status, code(answer)) == (413, "too_large")


def test_nothing_of_an_upload_is_written_by_the_proxy(wire: Wire, nginx: Nginx) -> None:
    path = wire.create(10_000_000)
    with wire.open("PATCH", path, Upload_Offset="0", Content_Length="10000000") as connection:
        connection.sendall(b"x" * 5_000_000)
        assert soon(lambda: len(wire.server.part(path)) > 5_000_000 - HELD_BACK)
        assert nginx.kept_on_disk() == []


def test_people_can_log_in_through_it(server: LiveServer, nginx: Nginx, browser: requests.Session) -> None:
    server.manage("shell", "-v", "0", "-c", ADD_PERSON.format(PASSWORD))
    browser.get(f"{nginx.url}/login/")
    form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    answer = browser.post(f"{nginx.url}/login/", data=form, headers={"Referer": f"{nginx.url}/login/"})
    assert (answer.status_code, answer.url) == (200, f"{nginx.url}/")
    assert all(cookie.secure for cookie in browser.cookies)


def test_a_part_of_a_stem_is_delivered(server: LiveServer, wire: Wire) -> None:
    stem = server.manage("shell", "-v", "0", "-c", ADD_STEM)
    answer = wire.ask("GET", f"/api/v1/stems/{stem}/audio", Range="bytes=1000000-5999999")
    assert (answer.status, answer.headers["content-range"]) == (206, "bytes 1000000-5999999/8000000")
    assert answer.body == (bytes(range(250)) * 32_000)[1_000_000:6_000_000]
