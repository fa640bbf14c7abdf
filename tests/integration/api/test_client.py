"""The Python client against a whole instance: web process, worker, the model that comes with Stemsite."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from separation.api.client import Client, StemsiteError, main
from tests.integration.uploads.live import LiveServer
from tests.integration.uploads.sounds import wav_bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("client"), DEFAULT_MODEL="starter", MAX_CONCURRENT_OPERATIONS="1")
    server.prepare()
    server.start()
    server.run_beside("work")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def token(server: LiveServer) -> str:
    return server.add_user("owner")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "My song.wav"
    path.write_bytes(wav_bytes(2.0, rate=44100))
    return path


def frames(path: Path) -> int:
    with wave.open(str(path)) as sound:
        return sound.getnframes()


def test_a_file_goes_in_and_stems_come_out(server: LiveServer, token: str, song: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    written = Client(server.url, token, piece_bytes=64 * 1024).separate(
        song, tmp_path / "out", seen.append, two_stems="vocals"
    )
    assert sorted(path.name for path in written) == ["My song - no_vocals.wav", "My song - vocals.wav"]
    assert {frames(path) for path in written} == {frames(song)}
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_a_folder_goes_in_by_the_command_line(
    server: LiveServer, token: str, song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (song.parent / "notes.wav").write_text("no sound")
    out = tmp_path / "out"
    status = main([server.url, str(song.parent), "--token", token, "--out", str(out), "--two-stems", "vocals"])
    assert status == 1
    assert len(list((out / "My song").iterdir())) == 2
    assert "unreadable_audio" in capsys.readouterr().err


def test_a_broken_download_goes_on_where_it_was(server: LiveServer, token: str, song: Path, tmp_path: Path) -> None:
    client = Client(server.url, token)
    job = client.wait(client.submit(client.upload(song), two_stems="vocals")["id"])
    stem = job["stems"][0]
    whole = client.download(stem["audio"], tmp_path / "whole.wav", stem["sha256"]).read_bytes()
    (tmp_path / "again.wav.part").write_bytes(whole[:1000])
    assert client.download(stem["audio"], tmp_path / "again.wav", stem["sha256"]).read_bytes() == whole
    (tmp_path / "mixed.wav.part").write_bytes(bytes(1000))
    assert client.download(stem["audio"], tmp_path / "mixed.wav").read_bytes() == bytes(1000) + whole[1000:]


def test_a_refusal_has_its_code(server: LiveServer, token: str, song: Path) -> None:
    client = Client(server.url, token)
    with pytest.raises(StemsiteError) as refused:
        client.submit(client.upload(song), model="nothing")
    assert (refused.value.status, refused.value.code) == (422, "unknown_model")


def test_a_wrong_token_is_said_at_once(server: LiveServer, song: Path) -> None:
    with pytest.raises(StemsiteError) as refused:
        Client(server.url, "wrong").upload(song)
    assert refused.value.code == "invalid_token"
