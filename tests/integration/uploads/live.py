"""A real web process on loopback, with its own data folder: started, killed, started again by tests.

Owns processes and folders; `LiveServer` is usable from benchmarks too.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.prepared import empty_database, static_files

ROOT = Path(__file__).resolve().parents[3]
ADD_USER = """
from django.contrib.auth.models import User
from separation.tokens.services import create_token
print(create_token(User.objects.create_user({name!r}), "test")[1])
"""


class LiveServer:
    """gunicorn with one worker process of many threads, as in production, over `data_dir`."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / "web.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("DJANGO_SETTINGS_MODULE", "TEST_DATA_DIR")},
            "DATA_DIR": str(data_dir),
            "DJANGO_SETTINGS_MODULE": "stemsite.settings",
            "HOST_NAME": "testhost",
            **environment,
        }
        self.data_dir = data_dir
        self.process: subprocess.Popen[bytes] | None = None
        self.beside: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> str:
        """Runs a management command; gives what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def prepare(self, *, pages: bool = False) -> None:
        """An empty database, and the static files that pages need."""
        empty_database(self.data_dir, self.manage)
        if pages:
            static_files(self.data_dir, self.manage)

    def add_user(self, name: str) -> str:
        """A new user; gives a token of theirs."""
        return self.manage("shell", "-v", "0", "-c", ADD_USER.format(name=name))

    def start(self) -> None:
        """Starts the web process and waits until it answers."""
        command = [sys.executable, "-m", "gunicorn", "stemsite.wsgi", "--config", "python:stemsite.gunicorn"]
        options = ["--bind", f"127.0.0.1:{self.port}", "--workers", "1", "--threads", "32"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_alive()

    def _wait_until_alive(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def run_beside(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A management command that goes on beside the web process; `stop` ends it too."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.beside.append(process)
        return process

    def worker_pid(self) -> int:
        """The process that serves requests: gunicorn's only worker."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def part(self, upload: str) -> bytes:
        """What has been received of an upload, by its path in the API."""
        file = self.data_dir / "staging" / "testhost" / "uploads" / f"{upload.split('/')[-2]}.part"
        return file.read_bytes() if file.exists() else b""

    def kill(self) -> None:
        """SIGKILL to all of it, as a power cut would be to the processes."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """The end of it. The web process needs no orderly one; the others end their own children."""
        self.kill()
        for process in self.beside:
            process.terminate()
        for process in self.beside:
            process.wait(30)


class Wire:
    """Raw HTTP/1.1 to a live server as one token, for what well-behaved clients cannot send."""

    def __init__(self, server: LiveServer, token: str, timeout: float = 60.0, host: str = "localhost") -> None:
        self.server, self.token, self.timeout, self.host = server, token, timeout, host

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=self.timeout)

    def open(self, method: str, path: str, **headers: str) -> socket.socket:
        """Sends a request's head; the body, if any, is the caller's."""
        named = {"Host": self.host, "Authorization": f"Bearer {self.token}", "Tus-Resumable": "1.0.0"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "PATCH":
            named.setdefault("Content-Type", "application/offset+octet-stream")
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        connection = self.connect()
        connection.sendall("\r\n".join(lines).encode())
        return connection

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """A whole exchange."""
        headers.setdefault("Content_Length", str(len(body)))
        with self.open(method, path, Connection="close", **headers) as connection:
            connection.sendall(body)
            return read_answer(connection)

    def create(self, length: int) -> str:
        """A new upload's path."""
        return self.ask("POST", "/api/v1/uploads/", Upload_Length=str(length)).headers["location"]

    def offset(self, path: str) -> int:
        """Where an upload stands."""
        return int(self.ask("HEAD", path).headers["upload-offset"])

    def patch(self, path: str, offset: int, body: bytes) -> Answer:
        return self.ask("PATCH", path, body, Upload_Offset=str(offset))


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, and all that followed them."""

    status: int
    headers: dict[str, str]
    body: bytes


def soon(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true within a minute, which a busy machine may need."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def read_answer(connection: socket.socket) -> Answer:
    """Everything until the server closes, or until the announced body is there."""
    data = b""
    while b"\r\n\r\n" not in data or not _is_whole(data):
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)


def _is_whole(data: bytes) -> bool:
    """Whether the body is as long as announced; an answer without a length ends when the server closes."""
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return length is not None and int(length[1]) > 0 and len(body) >= int(length[1])
