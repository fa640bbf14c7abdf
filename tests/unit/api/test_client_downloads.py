"""The client's downloads over lines that break: what is handed over is whole, and what came is kept."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from separation.api.client import Client
from tests.ports import free_port

DATA = bytes(range(256)) * 4000


class Hasty(Client):
    @staticmethod
    def _patience() -> Iterator[float]:
        yield from (0, 0, 0)


class BreakingLine(ThreadingHTTPServer):
    """Serves DATA by ranges; each answer ends after `most` bytes, whatever it announced."""

    most = len(DATA) // 2

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.starts: list[int] = []


class Answer(BaseHTTPRequestHandler):
    server: BreakingLine

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.starts.append(start)
        if start >= len(DATA):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(DATA)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : start + self.server.most])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def line() -> Iterator[BreakingLine]:
    with BreakingLine() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client_of(port: int) -> Client:
    return Hasty(f"http://127.0.0.1:{port}", "token")


@pytest.mark.parametrize("sha256", ["", hashlib.sha256(DATA).hexdigest()])
def test_a_download_that_is_cut_off_goes_on_from_there(line: BreakingLine, tmp_path: Path, sha256: str) -> None:
    written = client_of(line.server_port).download("/stem", tmp_path / "stem.wav", sha256)
    assert written.read_bytes() == DATA
    assert line.starts == [0, len(DATA) // 2]


def test_what_was_whole_already_is_handed_over(line: BreakingLine, tmp_path: Path) -> None:
    (tmp_path / "stem.wav.part").write_bytes(DATA)
    assert client_of(line.server_port).download("/stem", tmp_path / "stem.wav").read_bytes() == DATA


def test_what_was_kept_of_a_longer_file_is_thrown_away(line: BreakingLine, tmp_path: Path) -> None:
    (tmp_path / "stem.wav.part").write_bytes(DATA + b"?")
    assert client_of(line.server_port).download("/stem", tmp_path / "stem.wav").read_bytes() == DATA


def test_a_line_that_stays_dead_is_an_error_and_keeps_what_came(tmp_path: Path) -> None:
    part = tmp_path / "stem.wav.part"
    part.write_bytes(b"begun")
    with pytest.raises(OSError, match="could not be downloaded"):
        client_of(free_port()).download("/stem", tmp_path / "stem.wav")
    assert part.read_bytes() == b"begun" and not (tmp_path / "stem.wav").exists()
