"""The first process of a kernel of our own: makes its memory run out in several ways and prints how each ended.

Started by test_kernel.py as `init`, with what initramfs.py packed. Each result is one line,
`RESULT {"case": ..., ...}`; then the machine is started anew, at which the emulator ends.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOP = Path("/sys/fs/cgroup")
GROUPS = TOP / "system.slice/stems.service"
RESTART = 0x01234567  # reboot(2), LINUX_REBOOT_CMD_RESTART
FILLS = "held = []\nwhile True: held.append(b'x' * (2 << 20))"
FORKS = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        held = b"x" * (16 << 20)
        time.sleep(20)
os.wait()
raise SystemExit(3)
"""
SUPERVISOR = """
import sys
from memory.processes import OperationLimits, ProcessResourceManager
ProcessResourceManager(poll_seconds=0.1).run(
    [sys.executable, "-I", "-S", "-c", "import time; print(flush=True); time.sleep(60)"],
    limits=OperationLimits(64 << 20),
    label="test",
    on_line=lambda line: print("up", flush=True),
)
"""


def main() -> None:
    sys.path.insert(0, str(ROOT))
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    mount("cgroup2", str(TOP))
    enter_a_delegated_group()
    say("group_before", **found_group())
    step_down()
    say("group", **found_group())
    say("host", **host())
    say("wall", **run(FILLS, limit_mb=400, wall_mb=24))
    say("wall_forks", **run(FORKS, limit_mb=400, wall_mb=40))
    say("both", **run(FILLS, limit_mb=32))
    say("machine", **run(FILLS, limit_mb=4000, walls=False))
    say("killed_supervisor", **kill_supervisor())
    say("left", groups=groups())


def mount(kind: str, target: str) -> None:
    if ctypes.CDLL(None, use_errno=True).mount(kind.encode(), target.encode(), kind.encode(), 0, None) != 0:
        raise OSError(ctypes.get_errno(), kind)


def say(case: str, **facts: object) -> None:
    print("RESULT", json.dumps({"case": case, **facts}), flush=True)


def enter_a_delegated_group() -> None:
    """As systemd starts a service that has `Delegate=yes`."""
    GROUPS.mkdir(parents=True)
    for above in (TOP, GROUPS.parent):
        (above / "cgroup.subtree_control").write_text("+memory")
    os.setxattr(GROUPS, "trusted.delegate", b"1")
    (GROUPS / "cgroup.procs").write_text("0")


def step_down() -> None:
    from memory.walls import step_down

    step_down()


def found_group() -> dict[str, object]:
    from memory.walls import find_delegated_group

    return {"folder": str(find_delegated_group(Path("/")))}


def host() -> dict[str, object]:
    from memory.probes.host import read_host

    reading = read_host()
    return {"total": reading.total, "available": reading.available, "sources": reading.sources}


def run(code: str, *, limit_mb: int, wall_mb: int | None = None, walls: bool = True) -> dict[str, object]:
    """With `wall_mb` the kernel's wall stands far below the supervisor's limit, so that only the kernel acts."""
    from memory.processes import OperationLimits, ProcessResourceManager
    from memory.walls import CgroupWall, Wall, open_wall

    def wall(size: int, label: str) -> Wall | None:
        if wall_mb is not None:
            return CgroupWall.build(GROUPS, wall_mb << 20)
        return open_wall(size, label) if walls else None

    outcome = ProcessResourceManager(poll_seconds=0.1, walls=wall).run(
        [sys.executable, "-I", "-S", "-c", code], limits=OperationLimits(limit_mb << 20), label="test"
    )
    facts = {"reason": outcome.reason, "signal": outcome.signal, "layers": outcome.layers}
    return {**facts, "peak": outcome.peak_bytes, "message": outcome.message}


def kill_supervisor() -> dict[str, object]:
    command = [sys.executable, "-c", SUPERVISOR]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        assert child.stdout is not None
        child.stdout.readline()
        before = groups()
        child.kill()
    deadline = time.monotonic() + 5
    while groups() and time.monotonic() < deadline:
        time.sleep(0.05)
    return {"before": len(before), "after": len(groups())}


def groups() -> list[str]:
    return [folder.name for folder in GROUPS.glob("operation-*")]


if __name__ == "__main__":
    try:
        main()
    finally:
        ctypes.CDLL(None).reboot(RESTART)
