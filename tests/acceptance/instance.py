"""A whole instance in a folder of its own: real `manage.py` processes, a real database, a real engine.

Owns starting and ending them. Models are small networks with random weights: they separate nothing, but everything
around them is as in production.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import psutil

from tests.prepared import empty_database

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"channels": 8, "t_layers": 1, "t_heads": 2, "bottom_channels": 32, "depth": 4, "nfft": 1024}


class Instance:
    """One DATA_DIR and the processes on it. A context manager: leaving it ends what still runs."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("TEST_DATA_DIR", "DATABASE_URL")},
            "DJANGO_SETTINGS_MODULE": "stemsite.settings",
            "DATA_DIR": str(data_dir),
            "HOST_NAME": "here",
            "MEMORY_BUDGET_MB": "4000",
            "JOB_LEASE_SECONDS": "4",
            "REAP_INTERVAL_SECONDS": "1",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        if "DATABASE_URL" in self.environment:
            self.manage("migrate", "--verbosity=0")
        else:
            empty_database(self.data_dir, self.manage)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            end(process)

    def manage(self, *arguments: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=300,
            **more,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on; its output goes to a log in the data folder."""
        with (self.data_dir / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def python(self, script: str) -> Any:
        """Run a few lines with Django set up; what they leave in `answer` comes back as JSON."""
        wrapped = f"import json, django; django.setup()\n{script}\nprint('\\n' + json.dumps(answer, default=str))"
        done = subprocess.run(
            [sys.executable, "-c", wrapped], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows straight from the database file."""
        with closing(sqlite3.connect(self.data_dir / "stemsite.sqlite3", timeout=20)) as database:
            return database.execute(sql, parameters).fetchall()

    def job(self, key: str) -> dict[str, Any]:
        """What the database says of a job."""
        names = ("state", "phase", "reason", "progress", "attempt_number")
        key = key.replace("-", "")
        (row,) = self.query(f"SELECT {', '.join(names)} FROM separation_separationjob WHERE id = ?", key)
        return dict(zip(names, row, strict=True))

    def attempts(self, key: str) -> list[tuple[str, str]]:
        """Outcome and reason of each attempt at a job."""
        sql = "SELECT outcome, reason FROM separation_attempt WHERE job_id = ? ORDER BY number"
        return self.query(sql, key.replace("-", ""))

    def submit(self, song: Path) -> str:
        """Queue a separation of a file; returns the job's id."""
        return str(
            self.python(
                "from pathlib import Path\n"
                "from django.contrib.auth.models import User\n"
                "from separation.services import create_track, parse_options, submit\n"
                "user, _ = User.objects.get_or_create(username='ada')\n"
                f"track = create_track(user, Path({str(song)!r}), 'Song.wav', move=False)\n"
                "answer = submit(user, track, parse_options({}), force=True).pk"
            )
        )

    def log(self, name: str) -> str:
        return (self.data_dir / f"{name}.log").read_text(errors="replace")

    def files(self, folder: str) -> list[str]:
        root = self.data_dir / folder
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything below it."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    process.wait()
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.2)


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; one that nobody has waited for yet has."""
    return not any(map(_is_alive, processes))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def engines_below(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The engine children of a worker cluster."""
    return [member for member in family_of(process) if "separation.engine" in _command_of(member)]


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
