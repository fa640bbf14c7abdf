"""A real nginx in front of a live server, with the example configuration that Stemsite ships.

Owns nginx's process, its folder and a self-signed certificate. Changes nothing of the example but its addresses and
where its certificate lies.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import psutil

from tests.integration.uploads.live import ROOT
from tests.ports import free_port

EXAMPLE = ROOT / "separation" / "uploads" / "nginx.conf.example"
PLACES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {example}
}}
"""


def find_nginx() -> str | None:
    """nginx's path; it often lies where only root's PATH leads."""
    return shutil.which("nginx", path=PLACES)


class Nginx:
    """nginx as the example has it, with TLS, before `upstream` (an http URL). A context manager."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.certificate = folder / "certificate.pem"
        self._write_certificate()
        self._write_configuration(upstream)

    def __enter__(self) -> Nginx:
        program = find_nginx()
        assert program is not None, "nginx is not installed"
        command = [program, "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]
        with (self.folder / "start.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_until_open()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this nginx and nobody else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def kept_on_disk(self) -> list[str]:
        """What nginx itself has written of bodies and answers: it holds such files open, gone from their folders."""
        places = tuple(f"{self.folder / name}/" for name in ("body", "proxy"))
        workers = psutil.Process(self._process.pid).children()
        opened = [str(link.readlink()) for worker in workers for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
        return [path for path in opened if path.startswith(places)]

    def _write_certificate(self) -> None:
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        files = ["-out", str(self.certificate), "-keyout", str(self.folder / "key.pem")]
        subprocess.run([*command, "-addext", names, *files], check=True, capture_output=True)

    def _write_configuration(self, upstream: str) -> None:
        text = EXAMPLE.read_text()
        changes = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "server_name stems.example.org;": "server_name localhost;",
            "/etc/letsencrypt/live/stems.example.org/fullchain.pem": str(self.certificate),
            "/etc/letsencrypt/live/stems.example.org/privkey.pem": str(self.folder / "key.pem"),
            "http://127.0.0.1:8000": upstream,
        }
        for there, here in changes.items():
            assert text.count(there) == 1, f"the example no longer has one {there!r}"
            text = text.replace(there, here)
        (self.folder / "nginx.conf").write_text(AROUND.format(folder=self.folder, example=text))

    def _wait_until_open(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "start.log").read_text())
