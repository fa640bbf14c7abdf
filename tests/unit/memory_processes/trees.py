"""Filesystem roots as recorded on real machines, reduced to the files that are read."""

import os
from pathlib import Path

GIB = 1024**3

MEMINFO = """\
MemTotal:       16384000 kB
MemFree:         1024000 kB
MemAvailable:    8192000 kB
Buffers:          204800 kB
Cached:          6144000 kB
SwapCached:            0 kB
SwapTotal:       2048000 kB
SwapFree:        1536000 kB
"""

PRESSURE = """\
some avg10=1.25 avg60=0.40 avg300=0.10 total=123456
full avg10=0.50 avg60=0.20 avg300=0.05 total=65432
"""

# Debian 12, a systemd service
MOUNTINFO_V2 = """\
24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
33 25 0:28 / /sys/fs/cgroup rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""

# Ubuntu 18.04, hybrid hierarchy
MOUNTINFO_V1 = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup rw,nsdelegate
35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:13 - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:14 - cgroup cgroup rw,memory
"""
CGROUP_V1 = "9:memory:/docker/f00\n5:cpu,cpuacct:/docker/f00\n0::/system.slice/docker.service\n"

# a container under cgroup v1: only its own part of the hierarchy is mounted
MOUNTINFO_V1_CONTAINER = """\
611 607 0:33 /docker/f00 /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:14 - cgroup cgroup rw,memory
"""

# a container under cgroup v2 with its own namespace: it sees itself as the root
CGROUP_V2_CONTAINER = "0::/\n"


NEEDS_BUS = """\
#!/bin/sh
[ "$1" = --user ] && [ ! -d "$XDG_RUNTIME_DIR" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Create the files under `root`, and return it."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def bare_machine(root: Path) -> Path:
    """No control group limits anything."""
    return write(root, {"proc/meminfo": MEMINFO, "proc/pressure/memory": PRESSURE})


def group_v2(maximum: str, current: int = 0, inactive_file: int = 0, high: str = "max") -> dict[str, str]:
    return {
        "memory.max": f"{maximum}\n",
        "memory.high": f"{high}\n",
        "memory.current": f"{current}\n",
        "memory.stat": f"anon 1\nfile 2\ninactive_file {inactive_file}\nactive_file 3\n",
        "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n",
    }


def group_v1(limit: int, usage: int = 0, inactive_file: int = 0) -> dict[str, str]:
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.usage_in_bytes": f"{usage}\n",
        "memory.stat": f"cache 2\ninactive_file 7\ntotal_inactive_file {inactive_file}\n",
    }


def place(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def logged_in(root: Path, systemd_run: str = NEEDS_BUS) -> dict[str, str]:
    """A machine with a systemd for each user, and a stand-in for the program that asks it. Returns a login's variables.

    As systemd-run --scope does, the stand-in finds its systemd by XDG_RUNTIME_DIR and becomes the program it is given.
    """
    write(root, {"bin/systemd-run": systemd_run, "run/systemd/private": "", "run/user/systemd/private": ""})
    (root / "bin/systemd-run").chmod(0o755)
    return {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(root / "run/user"), "SECRET": "1"}


def below_the_user_s_systemd(root: Path, uid: int) -> None:
    """This process was started by a desktop, whose programs are part of the user's systemd."""
    group = f"/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/terminal.scope"
    write(root, {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": MOUNTINFO_V2})
    (root / "sys/fs/cgroup" / group.strip("/")).mkdir(parents=True)
