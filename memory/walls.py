"""The kernel's wall around one operation, where it can be had without privileges.

Two kinds: a cgroup v2 child below a group that was delegated to this service (systemd's `Delegate=yes` with
`DelegateSubgroup=`, or a container whose first process lives in a sub-group), and a transient scope of the
user's systemd. The supervisor works without either; a wall makes overshoot impossible instead of short.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from memory.policy import KILL_FRACTION
from memory.probes.cgroups import Hierarchy, hierarchies, is_writable
from memory.probes.oom import counter

REMOVE_SECONDS = 1.0
TRIAL_SECONDS = 5.0


class Wall(Protocol):
    """A memory limit that the kernel itself enforces on everything started inside it.

    `prefix` goes before the program's own arguments; `cgroup` is a folder that the program joins before it starts.
    """

    @property
    def name(self) -> str: ...

    @property
    def prefix(self) -> tuple[str, ...]: ...

    @property
    def cgroup(self) -> str | None: ...

    def kills(self) -> int:
        """Processes that the kernel has ended at this wall."""
        ...

    def close(self) -> None: ...


class CgroupWall:
    """A cgroup v2 of its own, removed on close."""

    name = "cgroup2"
    prefix: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def build(cls, parent: Path, memory_bytes: int) -> "CgroupWall":
        """Raises OSError when the kernel refuses. No swap: a job that swaps is over its limit too."""
        folder = parent / f"operation-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        wall = cls(folder)
        try:
            (folder / "memory.max").write_text(str(memory_bytes))
            with contextlib.suppress(FileNotFoundError, PermissionError):  # a kernel without swap accounting
                (folder / "memory.swap.max").write_text("0")
            (folder / "memory.oom.group").write_text("1")
        except OSError:
            wall.close()
            raise
        return wall

    @property
    def cgroup(self) -> str | None:
        return str(self._folder)

    def kills(self) -> int:
        return counter(self._folder / "memory.events", "oom_kill")

    def close(self) -> None:
        """The folder can go once its last process has been collected, which can be a moment later."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while self._folder.exists():
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)


class ScopeWall:
    """A transient systemd scope. It vanishes with its last process, so its kills are seen in the machine's count."""

    name = "systemd_scope"
    cgroup: str | None = None

    def __init__(self, manager: tuple[str, ...], memory_bytes: int) -> None:
        properties = ("-p", f"MemoryMax={memory_bytes}", "-p", "MemorySwapMax=0")
        self.prefix: tuple[str, ...] = (*manager, "--scope", "--quiet", "--collect", *properties, "--")

    def kills(self) -> int:
        return 0

    def close(self) -> None:
        pass


def open_wall(memory_bytes: int, label: str) -> Wall | None:
    """The best wall that this machine offers for one operation (`label`), or None."""
    del label
    return build_wall(memory_bytes, delegated_group, scope_manager)


def build_wall(
    memory_bytes: int, group: Callable[[], Path | None], scope: Callable[[], tuple[str, ...] | None]
) -> Wall | None:
    """`group` finds a delegated cgroup, `scope` the command of a systemd that grants scopes. The wall stands where
    the supervisor would kill outright, so that an orderly end comes first."""
    size = int(memory_bytes * KILL_FRACTION)
    parent = group()
    if parent is not None:
        with contextlib.suppress(OSError):
            return CgroupWall.build(parent, size)
    manager = scope()
    return ScopeWall(manager, size) if manager is not None else None


# --- finding what the machine offers


@functools.cache
def delegated_group() -> Path | None:
    """The group of this service in which it may make groups with a memory limit; asked once per process."""
    return find_delegated_group(Path("/"))


def find_delegated_group(root: Path) -> Path | None:
    """The own group's parent, if that was handed to this service and holds no process itself."""
    for hierarchy in hierarchies(root):
        parent = hierarchy.own.parent
        if hierarchy.version == 2 and hierarchy.own != hierarchy.mount and _is_delegated(parent, hierarchy):
            return parent if _offers_memory(parent) else None
    return None


def _is_delegated(folder: Path, hierarchy: Hierarchy) -> bool:
    """systemd marks what it delegates; the top of a container's own hierarchy is the container's."""
    ours = is_writable(folder) and os.access(folder / "cgroup.procs", os.W_OK)
    return ours and (folder == hierarchy.mount or _marked(folder))


def _marked(folder: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError, AttributeError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _offers_memory(folder: Path) -> bool:
    """Whether groups below have the memory controller, switching it on for them if need be."""
    try:
        if "memory" in (folder / "cgroup.subtree_control").read_text().split():
            return True
        (folder / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        return False
    return True


@functools.cache
def scope_manager() -> tuple[str, ...] | None:
    """The command that makes scopes, tried out once per process; None where systemd doesn't run or refuses."""
    program = shutil.which("systemd-run")
    user = os.geteuid() != 0
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent") if user else "/run") / "systemd"
    if program is None or not (runtime / "private").exists():
        return None
    manager = (program, "--user") if user else (program,)
    return manager if _grants_scopes(manager) else None


def _grants_scopes(manager: tuple[str, ...]) -> bool:
    trial = [*ScopeWall(manager, 1 << 30).prefix, "true"]
    try:
        return subprocess.run(trial, capture_output=True, timeout=TRIAL_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
