"""The kernel's part for real: control groups and the OOM killer of a kernel started for the purpose.

User-mode Linux runs as an ordinary program (Debian: user-mode-linux) on a read-only view of this machine's files;
what happens to memory in there happens to nothing out here.
"""

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from memory.processes import OperationLimits, ProcessResourceManager
from memory.quantities import GIB, MIB

KERNEL = shutil.which("linux.uml")
INIT = Path(__file__).with_name("inside_kernel.py")
MACHINE_MB = 320
NO_REGISTERS = "ptrace set fp regs failed"

pytestmark = [
    pytest.mark.skipif(KERNEL is None, reason="user-mode Linux is not installed (Debian: user-mode-linux)"),
    pytest.mark.slow,
]


def has_amx() -> bool:
    return "amx_tile" in Path("/proc/cpuinfo").read_text()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What inside_kernel.py printed, by case."""
    folder = tmp_path_factory.mktemp("kernel")
    lines: list[str] = []
    kernel = [str(KERNEL), f"mem={MACHINE_MB}M", "rootfstype=hostfs", "rootflags=/", "ro", f"uml_dir={folder}/"]
    console = ["con=null", "con0=null,fd:1", "quiet", f"init={sys.executable}"]
    outcome = ProcessResourceManager(poll_seconds=0.1).run(
        [*kernel, *console, "--", str(INIT)],
        limits=OperationLimits(4 * GIB, wall_seconds=150),
        label="kernel",
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
        on_line=lines.append,
    )
    found = [json.loads(line.partition("RESULT ")[2]) for line in lines if "RESULT " in line]
    if has_amx() and any(NO_REGISTERS in line for line in [*lines, outcome.stderr_tail]):
        pytest.xfail(
            "user-mode Linux 6.1 runs no program on a processor with AMX, whose registers do not fit its buffer"
        )
    assert found and found[-1]["case"] == "left", f"{outcome.message}\n" + "\n".join([*lines, outcome.stderr_tail])
    return {result.pop("case"): result for result in found}


def test_a_process_in_the_top_group_leaves_no_room_for_a_wall(results: dict[str, Any]) -> None:
    assert results["group_before"]["folder"] == "None"


def test_a_process_below_the_top_group_may_build_walls(results: dict[str, Any]) -> None:
    assert results["group"]["folder"] == "/sys/fs/cgroup"


def test_the_machine_s_memory_is_read(results: dict[str, Any]) -> None:
    assert 0.8 * MACHINE_MB * MIB < results["host"]["total"] <= MACHINE_MB * MIB


def test_a_child_killed_by_the_kernel_at_its_wall_was_over_its_limit(results: dict[str, Any]) -> None:
    case = results["wall"]
    assert (case["reason"], case["signal"]) == ("memory_limit", signal.SIGKILL)
    assert case["peak"] <= 1.15 * 24 * MIB + 8 * MIB  # resident pages of program files are charged elsewhere
    assert "cgroup2" in case["layers"]


def test_the_wall_falls_on_a_whole_family(results: dict[str, Any]) -> None:
    assert results["wall_forks"]["reason"] == "memory_limit"


def test_the_supervisor_comes_before_the_wall_where_it_can(results: dict[str, Any]) -> None:
    assert results["both"]["reason"] == "memory_limit"
    assert "cgroup2" in results["both"]["layers"]


def test_when_the_machine_runs_out_the_operation_is_taken_and_the_reason_is_the_machine(
    results: dict[str, Any],
) -> None:
    case = results["machine"]
    assert (case["reason"], case["signal"]) == ("host_out_of_memory", signal.SIGKILL)
    assert "the machine ran out of memory" in case["message"]


def test_a_killed_supervisor_s_wall_is_taken_down(results: dict[str, Any]) -> None:
    assert results["killed_supervisor"] == {"before": 1, "after": 0}


def test_no_wall_is_left(results: dict[str, Any]) -> None:
    assert results["left"] == {"groups": []}
