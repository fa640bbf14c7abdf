"""Supervised children for real: a manager, and a mark by which every process of a tree is found again."""

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory.processes import OperationLimits, Outcome, ProcessResourceManager
from memory.quantities import MIB

MARK = "SUPERVISED_TEST_MARK"


class Lab:
    """Runs Python code under supervision and finds what is left of it."""

    def __init__(self, manager: ProcessResourceManager) -> None:
        self.manager = manager
        self.mark = uuid.uuid4().hex

    def run(self, code: str, *, limit_mb: int = 200, **options: object) -> Outcome:
        names = ("wall_seconds", "stall_seconds", "grace_seconds", "data_bytes")
        limits = {name: options.pop(name) for name in names if name in options}
        return self.manager.run(
            [sys.executable, "-I", "-S", "-c", code],
            limits=OperationLimits(limit_mb * MIB, **limits),  # type: ignore[arg-type]
            label="test",
            env=self.env(),
            **options,  # type: ignore[arg-type]
        )

    def env(self) -> dict[str, str]:
        return {**os.environ, MARK: self.mark}

    def alive(self) -> list[int]:
        """Pids of all live processes that carry the mark, guardians included."""
        wanted = f"{MARK}={self.mark}".encode()
        return [pid for pid in pids() if wanted in environment(pid)]

    def wait_until_gone(self, seconds: float = 2.0) -> list[int]:
        deadline = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> bytes:
    """Empty for a process that has ended, a zombie too."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def manager() -> ProcessResourceManager:
    return ProcessResourceManager(poll_seconds=0.1)


@pytest.fixture
def lab(manager: ProcessResourceManager) -> Iterator[Lab]:
    """Whatever a test does, none of its processes may be alive after it."""
    laboratory = Lab(manager)
    yield laboratory
    left = laboratory.wait_until_gone(5.0)
    for pid in left:
        os.kill(pid, 9)
    assert not left
