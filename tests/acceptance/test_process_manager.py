"""The whole service as `make run` starts it, when its terminal goes, or its process manager does."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.acceptance.instance import ROOT, Instance, family_of, gone, wait_for
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux's"),
]


class Service(Instance):
    """All of it, on a terminal of its own."""

    def __enter__(self) -> Self:
        super().__enter__()
        ours, theirs = pty.openpty()
        self.terminal = os.fdopen(ours, "rb", buffering=0)
        self.manager = subprocess.Popen(
            [sys.executable, "-m", "stemsite.run"],
            cwd=ROOT,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.processes.append(self.manager)
        self.programs: list[psutil.Process] = []
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.terminal.close()
        for program in self.programs:
            with suppress(psutil.NoSuchProcess):
                program.kill()

    def be_ready(self) -> None:
        """Waits until it is, and notes every process but the process manager."""
        shown = b""
        while b"is ready" not in shown:
            shown += self.terminal.read(4096)
        self.programs = family_of(self.manager)

    def is_gone(self) -> bool:
        return gone(self.programs)

    def has_unregistered(self) -> bool:
        return self.query("SELECT count(*) FROM separation_workercluster") == [(0,)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, PORT=str(free_port())) as running:
        running.be_ready()
        yield running


def test_a_terminal_that_is_closed_ends_all_of_it_in_order(service: Service) -> None:
    service.terminal.close()
    assert service.manager.wait(timeout=60) == 0
    wait_for(service.is_gone, 10, "all of it to be gone")
    assert service.has_unregistered()


def test_a_process_manager_that_is_killed_leaves_no_program_behind(service: Service) -> None:
    service.manager.kill()
    wait_for(service.is_gone, 60, "all of it to be gone")
    assert service.has_unregistered()
