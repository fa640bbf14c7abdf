"""Fetching weights from a hub on this machine: whole, interrupted, damaged, redirected, absent."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from separation import catalog
from separation.weights import FetchError, fetch, repository

YAML = b"models: ['955717e8']\n"
WEIGHTS = bytes(range(256)) * 20_000


class Hub:
    """A local hub: answers `resolve` with a redirect that states the sha256, as the public one does."""

    def __init__(self) -> None:
        self.files = {"htdemucs.yaml": YAML, "955717e8.safetensors": WEIGHTS}
        self.stated: dict[str, str] = {}
        self.cut_after: int | None = None
        self.ranges: list[str | None] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        name = request.path.rsplit("/", 1)[-1]
        if name not in self.files:
            request.send_error(404)
        elif request.path.startswith("/adefossez/HTDemucs/resolve/main/"):
            sha256 = self.stated.get(name, hashlib.sha256(self.files[name]).hexdigest())
            request.send_response(302)
            request.send_header("X-Linked-ETag", f'"{sha256}"')
            request.send_header("Location", f"/cdn/{name}")
            request.end_headers()
        else:
            self.send(request, self.files[name])

    def send(self, request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(data):
            request.send_error(416)
            return
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        end = len(data) if self.cut_after is None else start + self.cut_after
        request.wfile.write(data[start:end])


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def test_a_fetched_model_is_ready_and_its_checksums_are_recorded(hub, tmp_path):
    seen = []
    fetch("htdemucs", tmp_path, seen.append, hub=hub.url)
    assert catalog.is_ready("htdemucs", tmp_path)
    assert (tmp_path / "htdemucs" / "955717e8.safetensors").read_bytes() == WEIGHTS
    assert seen[-1].done == seen[-1].total == len(WEIGHTS)
    assert hashlib.sha256(WEIGHTS).hexdigest() in (tmp_path / "htdemucs" / "checksums.json").read_text()


def test_an_interrupted_download_goes_on_where_it_stopped(hub, tmp_path):
    hub.cut_after = 1_500_000
    with pytest.raises(FetchError, match="could not be fetched"):
        fetch("htdemucs", tmp_path, hub=hub.url)
    assert not catalog.is_ready("htdemucs", tmp_path)
    hub.cut_after = None
    fetch("htdemucs", tmp_path, hub=hub.url)
    assert hub.ranges[-1] == "bytes=1500000-"
    assert (tmp_path / "htdemucs" / "955717e8.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_download_is_thrown_away(hub, tmp_path):
    hub.stated["955717e8.safetensors"] = "0" * 64
    with pytest.raises(FetchError, match=r"checksum of 955717e8\.safetensors is wrong"):
        fetch("htdemucs", tmp_path, hub=hub.url)
    assert sorted(p.name for p in (tmp_path / "htdemucs").iterdir()) == ["checksums.json", "htdemucs.yaml"]


def test_a_part_longer_than_the_file_is_fetched_anew(hub, tmp_path):
    (tmp_path / "htdemucs").mkdir()
    (tmp_path / "htdemucs" / "955717e8.safetensors.part").write_bytes(b"x" * (len(WEIGHTS) + 1))
    fetch("htdemucs", tmp_path, hub=hub.url)
    assert (tmp_path / "htdemucs" / "955717e8.safetensors").read_bytes() == WEIGHTS


def test_files_that_are_there_are_not_fetched_again(hub, tmp_path):
    fetch("htdemucs", tmp_path, hub=hub.url)
    count = len(hub.ranges)
    fetch("htdemucs", tmp_path, hub=hub.url)
    assert len(hub.ranges) == count


def test_without_a_network_the_error_says_which_files_to_copy_where(tmp_path):
    with pytest.raises(FetchError, match=r"copy htdemucs\.yaml, 955717e8\.safetensors from .*HTDemucs into") as caught:
        fetch("htdemucs", tmp_path, hub="http://127.0.0.1:9")
    assert caught.value.code == "model_unavailable"


def test_a_model_the_hub_does_not_have_is_an_error(hub, tmp_path):
    with pytest.raises(FetchError, match="404"):
        fetch("htdemucs_6s", tmp_path, hub=hub.url)


def test_an_unknown_model_is_refused(tmp_path):
    with pytest.raises(FetchError, match="no model") as caught:
        fetch("../evil", tmp_path)
    assert caught.value.code == "unknown_model"


def test_a_redirect_to_another_scheme_is_refused(hub, tmp_path):
    hub.answer = lambda request: (
        request.send_response(302),
        request.send_header("Location", "file:///etc/passwd"),
        request.end_headers(),
    )
    with pytest.raises(FetchError, match="not allowed"):
        fetch("htdemucs", tmp_path, hub=hub.url)


def test_an_address_without_a_scheme_says_where_it_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("STEMSITE_HUB_URL", "hub.example.org")
    with pytest.raises(FetchError, match=r"STEMSITE_HUB_URL.*has to begin with https://.*hub\.example\.org"):
        fetch("htdemucs", tmp_path)


def test_repositories_are_named_as_demucs_names_them():
    from demucs.hf import hf_repo_name

    for name in catalog.MODELS:
        assert repository(name) == f"adefossez/{hf_repo_name(name)}"


def test_the_commands_fetch_and_list(hub, tmp_path, settings, monkeypatch, capsys):
    from django.core.management import call_command

    settings.MODEL_DIR = tmp_path
    monkeypatch.setenv("STEMSITE_HUB_URL", hub.url)
    call_command("fetch_model", "htdemucs")
    call_command("models")
    out = capsys.readouterr().out
    assert "htdemucs is ready" in out
    assert "* htdemucs     ready" in out
