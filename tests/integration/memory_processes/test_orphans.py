"""Whoever dies, no process outlives its operation: supervisor, guardian, callback, program."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from memory.processes import EndReason, OperationLimits, Outcome, ProcessResourceManager, TreeSample
from memory.quantities import MIB
from tests.integration.memory_processes import children
from tests.integration.memory_processes.conftest import Lab, environment, pids

ROOT = Path(__file__).resolve().parents[3]

SUPERVISOR = """
import sys
from memory.processes import OperationLimits, ProcessResourceManager
ProcessResourceManager(poll_seconds=0.1, reader=sys.argv[2]).run(
    [sys.executable, "-I", "-S", "-c", sys.argv[1]],
    limits=OperationLimits(200 << 20),
    label="test",
    on_line=lambda line: print(line, flush=True),
)
"""

A_FAMILY = (
    children.DAEMON
    + """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
daemon(lambda: time.sleep(60))
for _ in range(3):
    if os.fork() == 0:
        os.setpgrp()
        time.sleep(60)
print("ready", flush=True)
time.sleep(60)
"""
)


def _start_supervisor(lab: Lab, code: str, reader: str = "proc") -> "subprocess.Popen[bytes]":
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, code, reader],
        cwd=ROOT,
        env={**lab.env(), "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
    )
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"ready\n"
    return supervisor


@pytest.mark.parametrize("reader", ["proc", "psutil"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_outlives_a_supervisor_that_is_killed(lab: Lab, number: int, reader: str) -> None:
    with _start_supervisor(lab, A_FAMILY, reader) as supervisor:
        assert len(lab.alive()) == 7  # supervisor, guardian, program, daemon, three forks
        supervisor.send_signal(number)
        supervisor.wait()
        assert lab.wait_until_gone(10.0) == []


def test_nobody_outlives_a_guardian_that_is_killed(lab: Lab) -> None:
    """Once the supervisor has heard of all its members: guardian's child and daemon."""
    samples: list[TreeSample] = []

    def kill_guardian() -> None:
        if samples and samples[-1].processes == 2:
            [guardian] = [pid for pid in lab.alive() if _parent(pid) == os.getpid()]
            os.kill(guardian, signal.SIGKILL)

    code = children.DAEMON + "daemon(lambda: time.sleep(60))\ntime.sleep(60)"
    outcome = lab.run(code, on_sample=samples.append, should_stop=kill_guardian, wall_seconds=30)
    assert outcome.reason is EndReason.KILLED
    assert lab.alive() == []


def test_a_callback_that_raises_ends_the_tree_and_is_heard(lab: Lab) -> None:
    with pytest.raises(LookupError):
        lab.run(A_FAMILY, on_line=_raise)
    assert lab.alive() == []


def test_a_program_that_daemonizes_at_once_is_not_taken_for_finished_work_left_running(lab: Lab) -> None:
    code = children.DAEMON + "daemon(lambda: time.sleep(60))"
    assert lab.run(code).reason is EndReason.COMPLETED
    assert lab.alive() == []


def test_without_a_process_filesystem_the_same_limits_hold() -> None:
    lab = Lab(ProcessResourceManager(poll_seconds=0.05, reader="psutil"))
    outcome = lab.run(children.LEAKS_SLOWLY, limit_mb=120)
    assert outcome.reason is EndReason.MEMORY_LIMIT
    assert lab.alive() == []


def test_many_threads_run_at_once_and_leave_no_descriptor_and_no_zombie(lab: Lab) -> None:
    lab.run("pass")  # whatever is opened once has been
    before, children_before = _descriptors(), _children()
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(lab.run("print(1)"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.reason for outcome in outcomes] == [EndReason.COMPLETED] * 16
    assert _descriptors() <= before
    assert _children() <= children_before


def test_a_failed_start_leaves_no_descriptor(manager: ProcessResourceManager) -> None:
    before = _descriptors()
    outcome = manager.run(["/nonexistent/program"], limits=OperationLimits(64 * MIB), label="test")
    assert outcome.reason is EndReason.FAILED
    assert "/nonexistent/program: No such file" in outcome.message
    assert _descriptors() <= before


def test_a_missing_working_folder_is_a_failed_start(manager: ProcessResourceManager) -> None:
    outcome = manager.run(["true"], limits=OperationLimits(64 * MIB), label="test", cwd="/nonexistent/folder")
    assert outcome.reason is EndReason.FAILED
    assert "/nonexistent/folder" in outcome.message


def test_a_daemonic_worker_process_can_supervise(lab: Lab) -> None:
    """django-q2's workers are daemonic, and may not have children of multiprocessing's kind."""
    code = """
import multiprocessing, sys
from memory.processes import OperationLimits, ProcessResourceManager
def work():
    limits = OperationLimits(1 << 28)
    outcome = ProcessResourceManager().run([sys.executable, "-c", "print(1)"], limits=limits, label="test")
    sys.exit(0 if outcome.ok else 1)
worker = multiprocessing.get_context("fork").Process(target=work, daemon=True)
worker.start()
worker.join()
sys.exit(worker.exitcode)
"""
    environ = {**lab.env(), "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environ, check=False).returncode == 0


def test_the_program_holds_no_descriptor_of_its_supervisor(lab: Lab) -> None:
    lines: list[str] = []
    lab.run("import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:4])", on_line=lines.append)
    assert lines == ["[0, 1, 2, 3]"]  # 3 is the listing itself


def _raise(_line: str) -> None:
    raise LookupError("the caller's own trouble")


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def _children() -> set[int]:
    return {pid for pid in pids() if _parent(pid) == os.getpid()}


def test_the_program_knows_its_environment_and_folder(lab: Lab, tmp_path: Path) -> None:
    lines: list[str] = []
    lab.run("import os; print(os.getcwd()); print(os.getpid())", cwd=tmp_path, on_line=lines.append)
    assert lines[0] == str(tmp_path)
    assert environment(int(lines[1])) == b""


def test_a_process_that_keeps_forking_and_ending_itself_does_not_get_away(lab: Lab, tmp_path: Path) -> None:
    """No look at the tree can be trusted here, the test's own neither: whoever it finds has ended by the time that a
    signal is sent. A named pipe tells: it ends once nobody holds it open any more."""
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    code = f"import os, time\nos.write(os.open({str(tmp_path / 'pipe')!r}, os.O_WRONLY), b'held')\n"
    code += "if os.fork() == 0:\n while True:\n  if os.fork(): os._exit(0)\ntime.sleep(0.3)"
    assert lab.run(code).reason is EndReason.COMPLETED
    assert os.read(pipe, 9) == b"held"
    assert os.read(pipe, 9) == b""  # with a holder left it would raise BlockingIOError
    os.close(pipe)


def test_a_fork_bomb_is_put_out(lab: Lab) -> None:
    code = "import os, time\nfor _ in range(7):\n os.fork()\nprint(1, flush=True)\ntime.sleep(60)"
    seen = threading.Event()
    outcome = lab.run(
        code,
        limit_mb=2000,
        on_line=lambda _line: seen.set(),
        should_stop=lambda: EndReason.CANCELLED if seen.is_set() else None,
    )
    assert outcome.reason is EndReason.CANCELLED
    assert lab.alive() == []
