"""A whole instance with its web server, for browsers to visit: gunicorn, worker cluster and reaper, as in production.

Owns the web process and the songs that tests drop. Database, folders and commands are `tests.acceptance.instance`'s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
import wave
from pathlib import Path

import numpy as np

from tests.acceptance.instance import ROOT, Instance, end
from tests.ports import free_port
from tests.prepared import static_files

LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client
user, clients = User.objects.get(username={name!r}), [Client() for _ in range(100)]
for client in clients: client.force_login(user)
answer = [client.cookies["sessionid"].value for client in clients]
"""


class Site(Instance):
    """An instance that answers at `url`. Leaving it ends all its processes."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        super().__init__(data_dir, **{"JOB_LEASE_SECONDS": "60", **environment})
        self.sessions: list[str] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment |= {"PORT": str(self.port), "WEB_PROCESSES": "1"}

    def start_web(self) -> None:
        """Start gunicorn, at the first time with the static files collected; returns when it answers."""
        if not (self.data_dir / "static" / "staticfiles.json").exists():
            static_files(self.data_dir, self.manage)
        command = [sys.executable, "-m", "gunicorn", "--config", "stemsite/gunicorn.py", "stemsite.wsgi"]
        with (self.data_dir / "web.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        self.web = process
        self._wait_until_alive(process)

    def kill_web(self) -> None:
        """End gunicorn and its workers at once, as a crash does."""
        end(self.web)

    def _wait_until_alive(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self.log("web"))

    def setup_code(self) -> str:
        """What the console shows at the first start."""
        return self.manage("setup_code").stdout.split()[-1]

    def add_user(self, name: str, password: str) -> None:
        create = f"User.objects.create_superuser({name!r}, password={password!r}); answer = True"
        self.python(f"from django.contrib.auth.models import User; {create}")

    def session(self, name: str) -> str:
        """A session of a user that nobody else has, without the form. A hundred are made at a time."""
        if not self.sessions:
            self.sessions = self.python(LOG_IN.format(name=name))
        return self.sessions.pop()


def write_song(path: Path, seconds: float = 6.0, *, seed: int = 0) -> Path:
    """A short piece with a beat, a bass line and a tune, 16-bit stereo at 44.1 kHz."""
    rate = 44100
    time_axis = np.arange(int(seconds * rate)) / rate
    random = np.random.default_rng(seed)
    beat = random.standard_normal(time_axis.size) * np.exp(-18 * (time_axis % 0.5))
    bass = np.sin(2 * np.pi * 55 * time_axis) * np.exp(-3 * (time_axis % 1.0))
    tune = np.sin(2 * np.pi * np.array([440, 494, 554, 659])[(time_axis * 2).astype(int) % 4] * time_axis)
    tune *= np.clip(np.sin(2 * np.pi * time_axis / 4), 0, 1)
    mixed = np.stack([0.3 * beat + 0.3 * bass + 0.25 * tune, 0.25 * beat + 0.3 * bass + 0.3 * tune], axis=1)
    with wave.open(os.fspath(path), "wb") as file:
        file.setparams((2, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(mixed, -1, 1) * 32000).astype("<i2").tobytes())
    return path
