"""Operations inside a wall. The kernel's part is played by plain files and a stand-in for systemd-run."""

import sys
from pathlib import Path

import pytest

from memory.processes import EndReason, OperationLimits, ProcessResourceManager
from memory.walls import CgroupWall, build_wall, find_scope_manager
from tests.integration.memory_processes.conftest import Lab
from tests.unit.memory_processes import trees

DIES_AT_THE_WALL = "open({events!r}, 'w').write('oom 1\\noom_kill 1\\n')\nimport os; os.kill(os.getpid(), 9)"


@pytest.fixture
def group(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def walled(group: Path) -> Lab:
    return Lab(ProcessResourceManager(poll_seconds=0.1, walls=lambda _size, _label: CgroupWall(group)))


def test_the_program_joins_its_group_before_it_starts(walled: Lab, group: Path) -> None:
    lines: list[str] = []
    outcome = walled.run(f"print(open('{group}/cgroup.procs').read())", on_line=lines.append)
    assert lines == ["0"]  # the kernel's word for "whoever writes this"
    assert "cgroup2" in outcome.layers


def test_a_kernel_kill_at_the_operation_s_own_wall_is_its_memory_limit(walled: Lab, group: Path) -> None:
    outcome = walled.run(DIES_AT_THE_WALL.format(events=str(group / "memory.events")))
    assert outcome.reason is EndReason.MEMORY_LIMIT


def test_a_group_that_cannot_be_joined_is_no_layer(tmp_path: Path) -> None:
    gone = CgroupWall(tmp_path / "gone")
    outcome = Lab(ProcessResourceManager(poll_seconds=0.1, walls=lambda _size, _label: gone)).run("pass")
    assert outcome.reason is EndReason.COMPLETED
    assert "cgroup2" not in outcome.layers


@pytest.fixture
def scoped(tmp_path: Path) -> ProcessResourceManager:
    """In a user's login on a machine with systemd."""
    environ = trees.logged_in(tmp_path)
    trees.below_the_user_s_systemd(tmp_path, 1000)
    found = find_scope_manager(tmp_path, 1000, environ)
    return ProcessResourceManager(
        poll_seconds=0.1, walls=lambda size, _label: build_wall(size, lambda: None, lambda: found)
    )


def test_a_scope_s_program_is_watched_like_any_other(scoped: ProcessResourceManager) -> None:
    outcome = Lab(scoped).run("import os; os.kill(os.getpid(), 11)")
    assert outcome.reason is EndReason.CRASHED
    assert "systemd_scope" in outcome.layers


def test_a_scope_is_had_for_a_program_that_gets_no_bus(scoped: ProcessResourceManager) -> None:
    lines: list[str] = []
    outcome = scoped.run(
        [sys.executable, "-I", "-S", "-c", "import os; print(sorted(os.environ))"],
        limits=OperationLimits(1 << 30),
        label="test",
        env={"LC_ALL": "C"},
        on_line=lines.append,
    )
    assert outcome.reason is EndReason.COMPLETED, outcome.stderr_tail
    assert "systemd_scope" in outcome.layers
    assert "LC_ALL" in lines[0] and "XDG_RUNTIME_DIR" not in lines[0]


class Recording(CgroupWall):
    """Remembers that it was closed: a plain folder with files in it can't be removed as a group can."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_the_wall_is_closed_when_a_callback_raises(tmp_path: Path) -> None:
    wall = Recording(tmp_path)
    lab = Lab(ProcessResourceManager(poll_seconds=0.1, walls=lambda _size, _label: wall))
    with pytest.raises(ZeroDivisionError):
        lab.run("print(1)", on_line=lambda _line: 1 // 0)
    assert wall.closed
