"""The control groups this process lives in, v1 and v2, and what their whole ancestry leaves it.

Every reading takes the filesystem root, so that recorded trees can be read. See cgroups(7) and the kernel's
"Control Group v2" document. Creates and changes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from memory.probes.oom import counter

UNLIMITED = 1 << 60  # v1 writes "no limit" as the largest multiple of a page below 2**63


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy that may account for memory: where it is mounted and this process's own folder."""

    version: int
    mount: Path
    own: Path

    def ancestry(self) -> Iterator[Path]:
        """The own folder and each one above it, up to the mount."""
        folder = self.own
        yield folder
        while folder != self.mount and self.mount in folder.parents:
            folder = folder.parent
            yield folder


@dataclass(frozen=True)
class GroupReading:
    """One group with a limit: bytes it may hold, and bytes it holds that can't simply be dropped."""

    folder: Path
    limit: int
    working_set: int

    @property
    def available(self) -> int:
        return max(self.limit - self.working_set, 0)


def hierarchies(root: Path = Path("/")) -> list[Hierarchy]:
    """The hierarchies with this process's memory, v2 first; empty where there are none."""
    own = _own_paths(_text(root / "proc/self/cgroup"))
    found = [
        Hierarchy(version, root / mount.relative_to("/"), _folder(root, mount, base, own[version]))
        for version, mount, base in _mounts(_text(root / "proc/self/mountinfo"))
        if version in own
    ]
    return sorted(found, key=lambda hierarchy: -hierarchy.version)


def limited_groups(root: Path = Path("/")) -> list[GroupReading]:
    """Every group of the own ancestry that has a memory limit, in all hierarchies."""
    readings = (
        _reading(hierarchy.version, folder) for hierarchy in hierarchies(root) for folder in hierarchy.ancestry()
    )
    return [reading for reading in readings if reading is not None]


def group_pressure(root: Path = Path("/")) -> str:
    """The own v2 group's memory.pressure as text; empty where it has none."""
    texts = (_text(one.own / "memory.pressure") for one in hierarchies(root) if one.version == 2)
    return next((text for text in texts if text), "")


def _own_paths(content: str) -> dict[int, PurePosixPath]:
    """/proc/self/cgroup: `0::/path` is v2; `4:memory:/path` the v1 hierarchy that has the memory controller."""
    paths = {}
    for line in content.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths[2] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            paths[1] = PurePosixPath(path)
    return paths


def _mounts(content: str) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """proc_pid_mountinfo(5): version, mount point and the part of the hierarchy mounted there."""
    for line in content.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        version = {"cgroup2": 2, "cgroup": 1}.get(kind[0])
        if version == 2 or (version == 1 and "memory" in kind[2].split(",")):
            yield version, _unescaped(fields[4]), _unescaped(fields[3])


def _unescaped(path: str) -> PurePosixPath:
    return PurePosixPath(path.encode().decode("unicode_escape") if "\\" in path else path)


def _folder(root: Path, mount: PurePosixPath, base: PurePosixPath, own: PurePosixPath) -> Path:
    """Where the own group is under its mount; the mount itself if the group lies outside what is mounted."""
    at = root / mount.relative_to("/")
    if ".." in own.parts or not own.is_relative_to(base):
        return at
    folder = at / own.relative_to(base)
    return folder if folder.is_dir() else at


def _reading(version: int, folder: Path) -> GroupReading | None:
    limit = _limit_v2(folder) if version == 2 else _number(folder / "memory.limit_in_bytes")
    if limit is None or limit >= UNLIMITED:
        return None
    usage = _number(folder / ("memory.current" if version == 2 else "memory.usage_in_bytes")) or 0
    droppable = counter(folder / "memory.stat", "inactive_file" if version == 2 else "total_inactive_file")
    return GroupReading(folder, limit, max(usage - droppable, 0))


def _limit_v2(folder: Path) -> int | None:
    """The lesser of memory.max and memory.high: over the latter a group is slowed until it is of no use."""
    limits = [_number(folder / "memory.max"), _number(folder / "memory.high")]
    return min((limit for limit in limits if limit is not None), default=None)


def _number(file: Path) -> int | None:
    content = _text(file).strip()
    return int(content) if content.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def is_writable(folder: Path) -> bool:
    """Whether this process may make groups below `folder`."""
    return os.access(folder, os.W_OK | os.X_OK)
