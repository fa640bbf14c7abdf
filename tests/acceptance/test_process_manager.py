"""The whole service as `make run` starts it, when its terminal goes, or its process manager does."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
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
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.terminal.close()

    def programs(self) -> list[psutil.Process]:
        """Once it is ready: every process but the process manager."""
        shown = b""
        while b"is ready" not in shown:
            shown += self.terminal.read(4096)
        return family_of(self.manager)

    def workers_in_order(self) -> bool:
        return self.query("SELECT count(*) FROM separation_workercluster") == [(0,)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, PORT=str(free_port())) as running:
        yield running


def test_a_terminal_that_is_closed_ends_all_of_it_in_order(service: Service) -> None:
    programs = service.programs()
    service.terminal.close()
    assert service.manager.wait(timeout=60) == 0
    wait_for(lambda: gone(programs), 10, "all of it to be gone")
    assert service.workers_in_order()


def test_a_process_manager_that_is_killed_leaves_no_program_behind(service: Service) -> None:
    programs = service.programs()
    service.manager.kill()
    wait_for(lambda: gone(programs), 60, "all of it to be gone")
    assert service.workers_in_order()
