"""The kernel's wall around one operation, where it can be had without privileges.

Two kinds: a cgroup v2 child below a group that was delegated to this service (systemd's `Delegate=yes`, or a
container that may write its own hierarchy), and a transient scope of the user's systemd. The supervisor works
without either; a wall makes overshoot impossible instead of short.
"""

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import psutil

from memory.policy import KILL_FRACTION
from memory.probes.cgroups import Hierarchy, hierarchies, is_writable
from memory.probes.oom import counter

REMOVE_SECONDS = 1.0
TRIAL_SECONDS = 5.0
BUS_VARIABLES = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""By which systemd-run finds the systemd of its user."""


class Wall(Protocol):
    """A memory limit that the kernel itself enforces on everything started inside it.

    `prefix` goes before the program's own arguments and needs the variables of `environment`, which the program
    itself doesn't get; `cgroup` is a folder that the program joins before it starts.
    """

    @property
    def name(self) -> str: ...

    @property
    def prefix(self) -> tuple[str, ...]: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

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
    environment: Mapping[str, str] = MappingProxyType({})

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


@dataclass(frozen=True)
class ScopeManager:
    """A systemd that makes scopes: the command that asks it, and the variables by which that command finds it."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class ScopeWall:
    """A transient systemd scope. It vanishes with its last process, so its kills are seen in the machine's count."""

    name = "systemd_scope"
    cgroup: str | None = None

    def __init__(self, manager: ScopeManager, memory_bytes: int) -> None:
        properties = ("-p", f"MemoryMax={memory_bytes}", "-p", "MemorySwapMax=0")
        ask = (*manager.command, "--scope", "--quiet", "--collect", *properties, "--")
        self.environment = manager.environment
        self.prefix: tuple[str, ...] = (*ask, *_without(manager.environment))

    def kills(self) -> int:
        return 0

    def close(self) -> None:
        pass


def _without(names: Iterable[str]) -> tuple[str, ...]:
    """Goes before a program that shall not get these variables."""
    unset = tuple(argument for name in names for argument in ("-u", name))
    return ("env", *unset) if unset else ()


def open_wall(memory_bytes: int, label: str) -> Wall | None:
    """The best wall that this machine offers for one operation (`label`), or None."""
    del label
    return build_wall(memory_bytes, delegated_group, scope_manager)


def build_wall(
    memory_bytes: int, group: Callable[[], Path | None], scope: Callable[[], ScopeManager | None]
) -> Wall | None:
    """`group` finds a delegated cgroup, `scope` a systemd that grants scopes. The wall stands where
    the supervisor would kill outright, so that an orderly end comes first."""
    size = int(memory_bytes * KILL_FRACTION)
    parent = group()
    if parent is not None:
        with contextlib.suppress(OSError):
            return CgroupWall.build(parent, size)
    manager = scope()
    return ScopeWall(manager, size) if manager is not None else None


# --- finding what the machine offers


def step_down(root: Path = Path("/"), pids: Sequence[int] | None = None) -> Path | None:
    """Moves this process, and those above it in the same group, from the top of a delegated group into one below.

    The kernel limits no group beside processes ("no internal processes", cgroup-v2.rst), and systemd without
    `DelegateSubgroup=` and containers start a service at the top. Called once, by what starts a service. Returns the
    group entered; None where nothing was delegated, or the service is below the top already.
    """
    for hierarchy in hierarchies(root):
        if hierarchy.version == 2 and _is_delegated(hierarchy.own, hierarchy) and _has_memory(hierarchy.own):
            with contextlib.suppress(OSError):
                return _enter_below(hierarchy.own, _line_of_descent() if pids is None else pids)
    return None


def _has_memory(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (folder / "cgroup.controllers").read_text().split()
    return False


def _enter_below(top: Path, pids: Iterable[int]) -> Path:
    below = top / "main"
    below.mkdir(exist_ok=True)
    members = (top / "cgroup.procs").read_text().split()
    for pid in pids:
        if str(pid) in members:
            (below / "cgroup.procs").write_text(str(pid))
    return below


def _line_of_descent() -> list[int]:
    """This process and all above it: a shell or `make` that started it would keep the top group from having limits."""
    return [os.getpid(), *(parent.pid for parent in psutil.Process().parents())]


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
def scope_manager() -> ScopeManager | None:
    """The systemd that makes scopes for this service; asked once per process."""
    return find_scope_manager(Path("/"), os.geteuid(), os.environ)


def find_scope_manager(root: Path, uid: int, environ: Mapping[str, str]) -> ScopeManager | None:
    """The machine's systemd for root, else the user's own, tried out; None where it doesn't run, or refuses."""
    program = shutil.which("systemd-run", path=environ.get("PATH"))
    if program is None:
        return None
    manager = _of_user(program, root, uid, environ) if uid else _of_machine(program, root)
    return manager if manager is not None and _grants_scopes(manager) else None


def _of_machine(program: str, root: Path) -> ScopeManager | None:
    return ScopeManager((program,)) if _listens(root / "run") else None


def _of_user(program: str, root: Path, uid: int, environ: Mapping[str, str]) -> ScopeManager | None:
    if not _listens(Path(environ.get("XDG_RUNTIME_DIR", "/nonexistent"))) or not _outlives(root, uid):
        return None
    return ScopeManager((program, "--user"), {name: environ[name] for name in BUS_VARIABLES if name in environ})


def _listens(runtime: Path) -> bool:
    return os.access(runtime / "systemd" / "private", os.F_OK)  # of another user: no, where exists() would raise


def _outlives(root: Path, uid: int) -> bool:
    """Whether the user's systemd ends no sooner than this service: it lingers, or the service is part of it.

    Otherwise it goes at the last logout, and all its scopes with it, while a service in tmux or nohup lives on.
    """
    unit = f"user@{uid}.service"
    return any(unit in hierarchy.own.parts for hierarchy in hierarchies(root)) or _lingers(root, uid)


def _lingers(root: Path, uid: int) -> bool:
    """As `loginctl enable-linger` sets it."""
    with contextlib.suppress(KeyError):  # a user without a name
        return os.access(root / "var/lib/systemd/linger" / pwd.getpwuid(uid).pw_name, os.F_OK)
    return False


def _grants_scopes(manager: ScopeManager) -> bool:
    """Tried with the wall's own variables and no others: what works so, works whatever an operation is given."""
    wall = ScopeWall(manager, 1 << 30)
    trial, env = [*wall.prefix, "true"], dict(wall.environment)
    try:
        done = subprocess.run(trial, env=env, capture_output=True, timeout=TRIAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
