"""Recorded trees: bare machines, cgroup v1 and v2, containers, nested groups."""

import subprocess
import sys
from pathlib import Path

import pytest

from memory.probes.cgroups import hierarchies, limited_groups
from memory.probes.host import read_host
from memory.probes.oom import host_oom_kills
from tests.unit.memory_processes import trees
from tests.unit.memory_processes.trees import GIB, bare_machine, group_v1, group_v2, place, write

KIB = 1024
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"
V1_UNLIMITED = 9223372036854771712


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return bare_machine(tmp_path)


def in_v2(root: Path, own: str, groups: dict[str, dict[str, str]]) -> Path:
    """A machine with cgroup v2, this process in `own`."""
    write(root, {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": trees.MOUNTINFO_V2})
    for path, files in groups.items():
        write(root, place(f"{V2}{path}", files))
    return root


def test_a_bare_machine_is_its_meminfo(root: Path) -> None:
    reading = read_host(root)
    assert (reading.total, reading.effective_limit) == (16384000 * KIB, 16384000 * KIB)
    assert reading.available == 8192000 * KIB
    assert reading.used == 8192000 * KIB
    assert reading.swap_used == 512000 * KIB
    assert reading.psi_some_avg10 == 1.25
    assert reading.sources == ("meminfo", "psi")


def test_a_kernel_before_memavailable_counts_what_can_be_dropped(root: Path) -> None:
    write(root, {"proc/meminfo": trees.MEMINFO.replace("MemAvailable", "Unknown")})
    assert read_host(root).available == (1024000 + 6144000 + 204800) * KIB


def test_a_kernel_without_pressure_says_so(root: Path) -> None:
    (root / "proc/pressure/memory").unlink()
    reading = read_host(root)
    assert reading.psi_some_avg10 is None
    assert "psi" not in reading.sources


def test_without_a_process_filesystem_psutil_answers(tmp_path: Path) -> None:
    reading = read_host(tmp_path)
    assert reading.sources[0] == "psutil"
    assert 0 < reading.available <= reading.total


def test_a_limited_service_has_its_group_s_limit_and_what_that_leaves(root: Path) -> None:
    in_v2(root, "/system.slice/stems.service", {"/system.slice/stems.service": group_v2(str(4 * GIB), 3 * GIB)})
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (4 * GIB, GIB)
    assert "cgroup2" in reading.sources


def test_page_cache_that_can_be_dropped_is_available(root: Path) -> None:
    in_v2(root, "/a", {"/a": group_v2(str(4 * GIB), 3 * GIB, inactive_file=2 * GIB)})
    assert read_host(root).available == 3 * GIB


def test_the_least_of_the_whole_ancestry_counts(root: Path) -> None:
    groups = {
        "/user.slice": group_v2(str(6 * GIB), 2 * GIB),
        "/user.slice/user-1000.slice": group_v2(str(5 * GIB), 4 * GIB + GIB // 2),
        "/user.slice/user-1000.slice/app.service": group_v2("max", GIB),
    }
    in_v2(root, "/user.slice/user-1000.slice/app.service", groups)
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (5 * GIB, GIB // 2)
    assert [group.limit for group in limited_groups(root)] == [5 * GIB, 6 * GIB]


def test_the_limit_and_the_room_may_be_those_of_two_groups(root: Path) -> None:
    groups = {"/a": group_v2(str(3 * GIB), 3 * GIB - 10), "/a/b": group_v2(str(2 * GIB), GIB)}
    in_v2(root, "/a/b", groups)
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (2 * GIB, 10)


def test_the_mark_from_which_a_group_is_slowed_is_a_limit_too(root: Path) -> None:
    in_v2(root, "/a", {"/a": group_v2("max", GIB, high=str(3 * GIB))})
    assert read_host(root).effective_limit == 3 * GIB


def test_a_group_over_its_limit_leaves_nothing(root: Path) -> None:
    in_v2(root, "/a", {"/a": group_v2(str(GIB), 2 * GIB)})
    assert read_host(root).available == 0


def test_a_limit_above_the_machine_does_not_add_memory(root: Path) -> None:
    in_v2(root, "/a", {"/a": group_v2(str(999 * GIB))})
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (16384000 * KIB, 8192000 * KIB)


def test_a_container_with_its_own_namespace_is_its_root_group(root: Path) -> None:
    in_v2(root, "/", {"": group_v2(str(2 * GIB), GIB)})
    assert read_host(root).effective_limit == 2 * GIB


def test_a_group_outside_what_is_mounted_is_read_at_the_mount(root: Path) -> None:
    in_v2(root, "/../../elsewhere", {"": group_v2(str(2 * GIB), GIB)})
    assert read_host(root).effective_limit == 2 * GIB


def test_the_own_group_s_pressure_counts_if_it_is_the_worse(root: Path) -> None:
    in_v2(root, "/a", {"/a": {**group_v2("max"), "memory.pressure": trees.PRESSURE.replace("1.25", "40.00")}})
    assert read_host(root).psi_some_avg10 == 40.0


def test_version_one_s_group_is_found_among_hybrid_mounts(root: Path) -> None:
    write(root, {"proc/self/cgroup": trees.CGROUP_V1, "proc/self/mountinfo": trees.MOUNTINFO_V1})
    write(root, place(f"{V1}/docker/f00", group_v1(3 * GIB, 2 * GIB, inactive_file=GIB)))
    write(root, place(V1, group_v1(V1_UNLIMITED, 5 * GIB)))
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (3 * GIB, 2 * GIB)
    assert "cgroup1" in reading.sources
    assert "cgroup2" not in reading.sources


def test_version_one_s_ancestry_counts(root: Path) -> None:
    write(root, {"proc/self/cgroup": "4:memory:/a/b\n", "proc/self/mountinfo": trees.MOUNTINFO_V1})
    write(root, place(f"{V1}/a", group_v1(2 * GIB, GIB)))
    write(root, place(f"{V1}/a/b", group_v1(V1_UNLIMITED, GIB)))
    assert read_host(root).effective_limit == 2 * GIB


def test_a_version_one_container_sees_its_part_of_the_hierarchy(root: Path) -> None:
    write(root, {"proc/self/cgroup": trees.CGROUP_V1, "proc/self/mountinfo": trees.MOUNTINFO_V1_CONTAINER})
    write(root, place(V1, group_v1(GIB, GIB // 4)))
    reading = read_host(root)
    assert (reading.effective_limit, reading.available) == (GIB, GIB - GIB // 4)


def test_an_escaped_mount_point_is_understood(root: Path) -> None:
    mountinfo = "33 25 0:28 / /mnt/control\\040groups rw - cgroup2 cgroup2 rw\n"
    write(root, {"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountinfo})
    write(root, place("mnt/control groups/a", group_v2(str(GIB))))
    assert [str(one.own.relative_to(root)) for one in hierarchies(root)] == ["mnt/control groups/a"]
    assert read_host(root).effective_limit == GIB


def test_a_resource_limit_of_this_process_is_a_limit(root: Path) -> None:
    reading = read_host(root, own_limits=lambda: [3 * GIB])
    assert (reading.effective_limit, reading.available) == (3 * GIB, 3 * GIB)
    assert "rlimit" in reading.sources


def test_the_resource_limits_of_a_real_process_are_read() -> None:
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
    code += "from memory.probes.host import own_rlimit\nprint(own_rlimit())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"[{3 * GIB}]\n"


def test_this_machine_can_be_read() -> None:
    reading = read_host()
    assert 0 < reading.available <= reading.effective_limit <= reading.total


def test_oom_kills_are_counted_where_the_kernel_counts_them(root: Path) -> None:
    assert host_oom_kills(root) == 0
    write(root, {"proc/vmstat": "nr_free_pages 1\noom_kill 12\n"})
    assert host_oom_kills(root) == 12
