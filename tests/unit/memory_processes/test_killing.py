"""Only the process that was meant is ever ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from memory.guardian import killing
from memory.probes.tree import ProcTree


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_process_is_ended_by_its_pid_and_start_time(child: "subprocess.Popen[bytes]") -> None:
    tree = ProcTree()
    started = tree.started(child.pid)
    assert started is not None
    assert killing.send(tree, child.pid, started, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_another_process_with_the_same_pid_is_left_alone(child: "subprocess.Popen[bytes]") -> None:
    started = ProcTree().started(child.pid) or 0.0
    assert not killing.send(ProcTree(), child.pid, started - 1, signal.SIGKILL)
    assert child.poll() is None


def test_a_process_that_is_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert not killing.send(ProcTree(), ended.pid, 1.0, signal.SIGKILL)


def test_everyone_below_a_process_is_ended_and_the_process_itself_is_not(child: "subprocess.Popen[bytes]") -> None:
    code = "import subprocess, sys\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        below = int(parent.stdout.readline())
        assert killing.end_all(ProcTree(), parent.pid) == {}
        assert ProcTree().started(below) is None
        assert parent.poll() is None
        parent.stdin.close()
    assert child.poll() is None


@pytest.mark.parametrize("refusal", [PermissionError, OSError(38, "not implemented"), AttributeError])
def test_a_sandbox_without_process_descriptors_can_still_end_a_process(
    child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refuse(_pid: int) -> int:
        raise refusal

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert killing.send(ProcTree(), child.pid, ProcTree().started(child.pid) or 0.0, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def test_whole_groups_are_killed_and_the_own_one_is_not() -> None:
    """The program between is in this process's group; its child leads a group, with a fork of its own in it."""
    leader = "import os, time\nos.setpgrp()\nos.fork()\nprint(os.getpgrp(), flush=True)\ntime.sleep(60)"
    between = f"import subprocess, sys\nsys.exit(-subprocess.run([sys.executable, '-c', {leader!r}]).returncode)"
    with subprocess.Popen([sys.executable, "-c", between], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        killing.kill_groups(ProcTree(), parent.pid)
        assert parent.wait() == signal.SIGKILL  # it lived to tell how its child ended
        parent.stdout.read()  # returns: the fork, which held the pipe too, has ended


def test_nobody_is_left_only_when_that_is_certain(child: "subprocess.Popen[bytes]") -> None:
    answers = iter([False, True])
    assert killing.end_all(ProcTree(), child.pid, childless=lambda: next(answers)) == {}
    assert next(answers, "asked twice") == "asked twice"
