"""The kernel's walls: found where they may be used, built with the right numbers."""

import os
import pwd
from pathlib import Path

import pytest

from memory.policy import KILL_FRACTION
from memory.quantities import MIB
from memory.walls import (
    CgroupWall,
    ScopeManager,
    ScopeWall,
    build_wall,
    find_delegated_group,
    find_scope_manager,
    open_wall,
    step_down,
)
from tests.unit.memory_processes import trees
from tests.unit.memory_processes.trees import below_the_user_s_systemd, logged_in, write

NOBODY = pwd.getpwnam("nobody")


def delegated(root: Path, *, subtree: str = "memory pids", own: str = "/main", mount: str = "sys/fs/cgroup") -> Path:
    """A container whose first process was moved into a group below its root. Returns the group above it."""
    write(root, {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": trees.MOUNTINFO_V2})
    group = root / mount
    write(group, {"cgroup.subtree_control": subtree, "cgroup.procs": "", f"{own.strip('/')}/cgroup.procs": "1"})
    return group


def test_a_group_below_the_container_s_own_top_is_used(tmp_path: Path) -> None:
    group = delegated(tmp_path)
    assert find_delegated_group(tmp_path) == group


def test_the_memory_controller_is_switched_on_where_it_is_off(tmp_path: Path) -> None:
    group = delegated(tmp_path, subtree="pids")
    assert find_delegated_group(tmp_path) == group
    assert (group / "cgroup.subtree_control").read_text() == "+memory"


def test_a_group_that_nobody_delegated_is_not_touched(tmp_path: Path) -> None:
    """The parent is a slice of the system's: writable for root, but not this service's."""
    delegated(tmp_path, own="/system.slice/stems.service", subtree="memory")
    write(tmp_path / "sys/fs/cgroup/system.slice", {"cgroup.procs": "", "cgroup.subtree_control": "memory"})
    assert find_delegated_group(tmp_path) is None


def test_a_group_marked_as_delegated_is_used(tmp_path: Path) -> None:
    delegated(tmp_path, own="/stems.service/main")
    group = write(tmp_path / "sys/fs/cgroup/stems.service", {"cgroup.procs": "", "cgroup.subtree_control": "memory"})
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError:
        os.setxattr(group, "trusted.delegate", b"1")
    assert find_delegated_group(tmp_path) == group


def test_the_own_group_at_the_top_has_nothing_above_it(tmp_path: Path) -> None:
    delegated(tmp_path, own="/")
    assert find_delegated_group(tmp_path) is None


def service_at(root: Path, own: str, *, controllers: str = "cpu memory pids") -> Path:
    """A service whose processes 7 and 8 are in the group `own` itself, beside a stranger. Returns that group."""
    write(root, {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": trees.MOUNTINFO_V2})
    group = root / "sys/fs/cgroup" / own.strip("/")
    write(group, {"cgroup.controllers": controllers, "cgroup.subtree_control": "", "cgroup.procs": "1\n7\n8\n"})
    return write(group, {"main/cgroup.procs": ""})


def entered(group: Path) -> str:
    """The last process that was moved: a write to the file in a test replaces what was written before."""
    return (group / "main/cgroup.procs").read_text()


@pytest.mark.parametrize("pid", [7, 8])
def test_a_service_at_the_top_of_its_container_steps_into_a_group_below(tmp_path: Path, pid: int) -> None:
    group = service_at(tmp_path, "/")
    assert step_down(tmp_path, [pid]) == group / "main"
    assert entered(group) == str(pid)


def test_a_process_that_is_not_in_the_group_is_not_moved(tmp_path: Path) -> None:
    group = service_at(tmp_path, "/")
    step_down(tmp_path, [7, 9])
    assert entered(group) == "7"


def test_a_service_steps_down_in_a_group_that_systemd_marked(tmp_path: Path) -> None:
    group = service_at(tmp_path, "/stems.service")
    try:
        os.setxattr(group, "user.delegate", b"1")
    except OSError:
        os.setxattr(group, "trusted.delegate", b"1")
    assert step_down(tmp_path, [7]) == group / "main"


def test_a_service_whose_group_nobody_delegated_stays_in_it(tmp_path: Path) -> None:
    group = service_at(tmp_path, "/system.slice/stems.service")
    assert step_down(tmp_path, [7]) is None
    assert entered(group) == ""


def test_a_service_stays_where_the_memory_controller_is_elsewhere(tmp_path: Path) -> None:
    group = service_at(tmp_path, "/", controllers="cpu pids")
    assert step_down(tmp_path, [7]) is None
    assert entered(group) == ""


def test_a_service_whose_group_refuses_starts_all_the_same(tmp_path: Path) -> None:
    group = service_at(tmp_path, "/")
    (group / "main/cgroup.procs").unlink()
    (group / "main/cgroup.procs").mkdir()
    assert step_down(tmp_path, [7]) is None


def test_a_wall_has_its_limit_no_swap_and_falls_as_a_whole(tmp_path: Path) -> None:
    wall = CgroupWall.build(tmp_path, 300 * MIB)
    assert wall.cgroup is not None
    folder = Path(wall.cgroup)
    assert folder.parent == tmp_path
    values = [(folder / name).read_text() for name in ("memory.max", "memory.swap.max", "memory.oom.group")]
    assert values == [str(300 * MIB), "0", "1"]


def test_kills_at_the_wall_are_the_kernel_s_count(tmp_path: Path) -> None:
    write(tmp_path, {"memory.events": "max 9\noom 2\noom_kill 2\noom_group_kill 1\n"})
    assert CgroupWall(tmp_path).kills() == 2


def test_a_closed_wall_leaves_no_group(tmp_path: Path) -> None:
    (tmp_path / "operation").mkdir()
    CgroupWall(tmp_path / "operation").close()
    assert list(tmp_path.iterdir()) == []


def test_the_wall_stands_where_the_supervisor_would_kill(tmp_path: Path) -> None:
    wall = build_wall(100 * MIB, lambda: tmp_path, lambda: None)
    assert wall is not None and wall.cgroup is not None
    assert (Path(wall.cgroup) / "memory.max").read_text() == str(int(100 * MIB * KILL_FRACTION))


def test_a_scope_is_asked_for_where_no_group_can_be_made(tmp_path: Path) -> None:
    wall = build_wall(100 * MIB, lambda: tmp_path / "absent", lambda: ScopeManager(("systemd-run", "--user")))
    assert isinstance(wall, ScopeWall)
    assert wall.prefix[:3] == ("systemd-run", "--user", "--scope")
    assert f"MemoryMax={105 * MIB}" in wall.prefix
    assert wall.prefix[-1] == "--"


def test_a_machine_that_offers_neither_has_no_wall() -> None:
    assert build_wall(100 * MIB, lambda: None, lambda: None) is None


def test_whatever_this_machine_offers_can_be_opened_and_closed() -> None:
    wall = open_wall(64 * MIB, "test")
    if wall is not None:
        wall.close()
        assert wall.cgroup is None or not Path(wall.cgroup).exists()


@pytest.mark.parametrize("missing", ["cgroup.procs", "cgroup.subtree_control"])
def test_a_group_with_less_than_it_takes_is_not_used(tmp_path: Path, missing: str) -> None:
    (delegated(tmp_path) / missing).unlink()
    assert find_delegated_group(tmp_path) is None


def test_scopes_are_the_machine_s_for_root(tmp_path: Path) -> None:
    environ = logged_in(tmp_path)
    assert find_scope_manager(tmp_path, 0, environ) == ScopeManager((f"{tmp_path}/bin/systemd-run",))


def test_scopes_are_the_user_s_where_the_service_is_part_of_its_systemd(tmp_path: Path) -> None:
    environ = logged_in(tmp_path)
    below_the_user_s_systemd(tmp_path, NOBODY.pw_uid)
    runtime = {"XDG_RUNTIME_DIR": environ["XDG_RUNTIME_DIR"]}
    manager = ScopeManager((f"{tmp_path}/bin/systemd-run", "--user"), runtime)
    assert find_scope_manager(tmp_path, NOBODY.pw_uid, environ) == manager


def test_a_systemd_that_ends_at_logout_is_not_asked_for_scopes(tmp_path: Path) -> None:
    assert find_scope_manager(tmp_path, NOBODY.pw_uid, logged_in(tmp_path)) is None


def test_a_systemd_that_lingers_grants_scopes_to_every_login(tmp_path: Path) -> None:
    environ = logged_in(tmp_path)
    write(tmp_path, {f"var/lib/systemd/linger/{NOBODY.pw_name}": ""})
    assert find_scope_manager(tmp_path, NOBODY.pw_uid, environ) is not None


def test_scopes_that_need_more_of_the_environment_than_operations_get_are_not_used(tmp_path: Path) -> None:
    environ = logged_in(tmp_path, '#!/bin/sh\n[ "$SECRET" ]\n')
    assert find_scope_manager(tmp_path, 0, environ) is None


def test_a_login_without_a_systemd_of_its_own_has_no_scopes(tmp_path: Path) -> None:
    environ = logged_in(tmp_path)
    below_the_user_s_systemd(tmp_path, NOBODY.pw_uid)
    (tmp_path / "run/user/systemd/private").unlink()
    assert find_scope_manager(tmp_path, NOBODY.pw_uid, environ) is None
