"""Operations inside a wall. The kernel's part is played by plain files and a stand-in for systemd-run."""

from pathlib import Path

import pytest

from memory.processes import EndReason, ProcessResourceManager
from memory.walls import CgroupWall, ScopeWall
from tests.integration.memory_processes.conftest import Lab

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


def test_a_scope_s_program_is_watched_like_any_other(tmp_path: Path) -> None:
    """systemd-run --scope becomes the program it was given, as this stand-in does."""
    stand_in = tmp_path / "systemd-run"
    stand_in.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    stand_in.chmod(0o755)
    walls = ScopeWall((str(stand_in), "--user"), 1 << 30)
    lab = Lab(ProcessResourceManager(poll_seconds=0.1, walls=lambda _size, _label: walls))
    outcome = lab.run("import os; os.kill(os.getpid(), 11)")
    assert outcome.reason is EndReason.CRASHED
    assert "systemd_scope" in outcome.layers


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
