"""The kernel's part for real: control groups and the OOM killer of a Linux started for the purpose.

QEMU emulates a small machine that boots a distribution's kernel with Python and the memory app as all it has
(initramfs.py); what happens to memory in there happens to nothing out here.
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
from tests.integration.memory_processes.initramfs import ROOT, write_initramfs

EMULATOR = shutil.which("qemu-system-x86_64")
KERNEL = next(ROOT.glob("build/kernel/boot/vmlinuz-*"), None)
INIT = Path(__file__).with_name("inside_kernel.py")
MACHINE_MB = 384
MACHINE = ("-machine", "microvm,acpi=off", "-accel", "tcg", "-cpu", "max", "-m", f"{MACHINE_MB}M")
CONSOLE = ("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio")
BOOT = ("console=ttyS0 loglevel=4 panic=-1 reboot=t mitigations=off", f"rdinit={sys.executable} -- {INIT}")

pytestmark = [
    pytest.mark.skipif(EMULATOR is None, reason="QEMU is not installed (Debian: qemu-system-x86)"),
    pytest.mark.skipif(KERNEL is None, reason="no kernel for x86-64 in build/kernel; .ci/run puts Debian's there"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What inside_kernel.py printed, by case."""
    first = tmp_path_factory.mktemp("kernel") / "initramfs"
    write_initramfs(first, INIT)
    lines: list[str] = []
    system = ("-kernel", str(KERNEL), "-initrd", str(first), "-append", " ".join(BOOT))
    outcome = ProcessResourceManager(poll_seconds=0.1).run(
        [str(EMULATOR), *MACHINE, *CONSOLE, *system],
        limits=OperationLimits(4 * GIB, wall_seconds=150),
        label="kernel",
        on_line=lines.append,
    )
    first.unlink()
    found = [json.loads(line.partition("RESULT ")[2]) for line in lines if "RESULT " in line]
    assert found and found[-1]["case"] == "left", f"{outcome.message}\n" + "\n".join([*lines, outcome.stderr_tail])
    return {result.pop("case"): result for result in found}


def test_a_service_at_the_top_of_its_group_leaves_no_room_for_a_wall(results: dict[str, Any]) -> None:
    assert results["group_before"]["folder"] == "None"


def test_a_service_that_steps_down_in_its_group_may_build_walls(results: dict[str, Any]) -> None:
    assert results["group"]["folder"] == "/sys/fs/cgroup/system.slice/stems.service"


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
