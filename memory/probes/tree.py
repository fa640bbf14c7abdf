"""Process trees: who descends from a process, and what each member holds.

Owns reading `/proc` (Linux) and psutil (elsewhere). Decides nothing and ends nothing. The guardian imports
it, so it imports nothing slow at its top.
"""

# pathlib would double the guardian's start-up time
# ruff: noqa: PTH110, PTH123, PTH208

import contextlib
import os
from typing import NamedTuple, Protocol

from memory.probes.sharing import one_memory

KIB = 1024
PROC = "/proc"
ZOMBIE_STATES = (b"Z", b"X")


class Reading(NamedTuple):
    """What one process holds, in bytes. `data` is its private writable mappings (what RLIMIT_DATA counts), `anon`
    its memory that is backed by no file, swapped out or not."""

    rss: int
    swap: int = 0
    peak: int = 0
    data: int = 0
    anon: int = 0

    @property
    def held(self) -> int:
        return self.rss + self.swap


class Tree(Protocol):
    """Reads the descendants of a process. A member is its pid and its start time, which together are unique."""

    def descendants(self, root: int) -> dict[int, float]: ...

    def started(self, pid: int) -> float | None: ...

    def groups(self, root: int) -> set[int]: ...

    def reading(self, pid: int) -> Reading | None: ...

    def pss(self, pid: int) -> int | None: ...

    def uss(self, pid: int) -> int | None: ...


class _Stat(NamedTuple):
    state: bytes
    parent: int
    group: int
    threads: int
    started: float

    @property
    def alive(self) -> bool:
        """A zombie whose other threads still run is alive: only its first thread has ended."""
        return self.state not in ZOMBIE_STATES or self.threads > 1


def _parse_stat(content: bytes) -> _Stat:
    """proc_pid_stat(5): the fields after the command's closing bracket, the first of which is the third."""
    fields = content[content.rindex(b")") + 2 :].split()
    return _Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[17]), float(fields[19]))


class ProcTree:
    """The tree as `/proc` shows it. `proc` is where that is mounted."""

    def __init__(self, proc: str = PROC) -> None:
        self._proc = proc
        self._lists_children = os.path.exists(f"{proc}/thread-self/children")

    def _read(self, *path: object) -> bytes | None:
        try:
            with open("/".join((self._proc, *map(str, path))), "rb") as file:
                return file.read()
        except OSError:  # it has ended since it was listed, or is another user's
            return None

    def _stat(self, pid: int) -> _Stat | None:
        content = self._read(pid, "stat")
        return _parse_stat(content) if content else None

    def started(self, pid: int) -> float | None:
        """Clock ticks between the machine's start and the process's; None when it is not alive."""
        stat = self._stat(pid)
        return stat.started if stat is not None and stat.alive else None

    def descendants(self, root: int) -> dict[int, float]:
        """Pid and start time of every live process below `root`, which is not included."""
        return self._listed(root) if self._lists_children else self.scan(root)

    def scan(self, root: int) -> dict[int, float]:
        """The same from one pass over all processes: slower, and misses no child of an exiting one."""
        return {pid: stat.started for pid, stat in self._scan(root).items() if stat.alive}

    def groups(self, root: int) -> set[int]:
        """Process groups of the descendants, the ended but uncollected ones included: while such a one exists, its
        group's number can't be given to another."""
        return {stat.group for stat in self._scan(root).values()}

    def _scan(self, root: int) -> dict[int, _Stat]:
        children: dict[int, list[int]] = {}
        stats: dict[int, _Stat] = {}
        for pid in self._pids():
            stat = self._stat(pid)
            if stat is not None:
                stats[pid] = stat
                children.setdefault(stat.parent, []).append(pid)
        return {pid: stats[pid] for pid in _below(root, children)}

    def _pids(self) -> list[int]:
        return [int(name) for name in os.listdir(self._proc) if name.isdigit()]

    def _listed(self, root: int) -> dict[int, float]:
        found: dict[int, float] = {}
        unvisited = self._children(root)
        while unvisited:
            pid = unvisited.pop()
            stat = self._stat(pid)
            if stat is not None and pid not in found:
                found[pid] = stat.started if stat.alive else -1.0
                unvisited.extend(self._children(pid))
        return {pid: started for pid, started in found.items() if started >= 0}

    def _children(self, pid: int) -> list[int]:
        try:
            threads = os.listdir(f"{self._proc}/{pid}/task")
        except OSError:
            return []
        return [int(child) for tid in threads for child in (self._read(pid, "task", tid, "children") or b"").split()]

    def reading(self, pid: int) -> Reading | None:
        """proc_pid_status(5); None for a process that has ended, nothing for one in the memory of its parent."""
        content = self._read(pid, "status")
        if content is None or b"VmRSS:" not in content:
            return None
        if self._borrows(pid, content):
            return Reading(0)
        swap = _kilobytes(content, b"VmSwap:")
        return Reading(
            rss=_kilobytes(content, b"VmRSS:"),
            swap=swap,
            peak=_kilobytes(content, b"VmHWM:"),
            data=_kilobytes(content, b"VmData:"),
            anon=_kilobytes(content, b"RssAnon:") + swap,
        )

    def pss(self, pid: int) -> int | None:
        """Resident and swapped bytes with each shared page divided by its number of users; None if unreadable."""
        content = self._rollup(pid)
        if content is None:
            return None
        return _kilobytes(content, b"\nPss:") + _kilobytes(content, b"\nSwapPss:")

    def uss(self, pid: int) -> int | None:
        """Bytes that would be freed if only this process ended; None if unreadable."""
        content = self._rollup(pid)
        if content is None:
            return None
        return _kilobytes(content, b"\nPrivate_Clean:") + _kilobytes(content, b"\nPrivate_Dirty:")

    def _rollup(self, pid: int) -> bytes | None:
        content = self._read(pid, "smaps_rollup")
        if not content:
            return None
        return b"" if self._borrows(pid, self._read(pid, "status") or b"") else content

    def _borrows(self, pid: int, status: bytes) -> bool:
        """Whether a process is one that its parent has only just made, and still runs in the parent's memory."""
        parent = _number(status, b"\nPPid:")
        if not parent:
            return False
        same = one_memory(pid, parent) if self._proc == PROC else None
        if same is not None:
            return same
        other = self._read(parent, "status")
        return other is not None and _sizes(other) == _sizes(status)


def _kilobytes(content: bytes, label: bytes) -> int:
    start = content.find(label)
    if start < 0:
        return 0
    return int(content[start + len(label) : content.index(b"kB", start)]) * KIB


def _number(content: bytes, label: bytes) -> int:
    start = content.find(label)
    return int(content[start + len(label) :].split(maxsplit=1)[0]) if start >= 0 else 0


def _sizes(status: bytes) -> bytes:
    """All that a status says about memory: down to the page tables, alike only where the memory is the same."""
    return status[status.find(b"VmPeak:") : status.find(b"VmSwap:")]


def _below(root: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    unvisited = list(children.get(root, ()))
    while unvisited:
        pid = unvisited.pop()
        found.append(pid)
        unvisited.extend(children.get(pid, ()))
    return found


class PsutilTree:
    """The tree by psutil, where there is no `/proc`.

    Without a subreaper an orphan becomes a child of init, so a process seen once in the tree stays in it.
    """

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._seen: dict[int, float] = {}

    def started(self, pid: int) -> float | None:
        try:
            process = self._psutil.Process(pid)
            return None if process.status() == self._psutil.STATUS_ZOMBIE else float(process.create_time())
        except self._psutil.Error:
            return None

    def descendants(self, root: int) -> dict[int, float]:
        self._seen = {pid: at for pid, at in self._seen.items() if self.started(pid) == at}
        for pid in (root, *tuple(self._seen)):
            self._seen.update(self._children(pid))
        return dict(self._seen)

    def groups(self, root: int) -> set[int]:
        found = set()
        for pid in self.descendants(root):
            with contextlib.suppress(OSError):
                found.add(os.getpgid(pid))
        return found

    def _children(self, pid: int) -> dict[int, float]:
        try:
            return {c.pid: float(c.create_time()) for c in self._psutil.Process(pid).children(recursive=True)}
        except self._psutil.Error:
            return {}

    def reading(self, pid: int) -> Reading | None:
        try:
            rss = int(self._psutil.Process(pid).memory_info().rss)
            return Reading(rss, anon=rss)
        except self._psutil.Error:
            return None

    def pss(self, pid: int) -> int | None:
        """Not offered by macOS; its unique set is the nearest that is."""
        try:
            full = self._psutil.Process(pid).memory_full_info()
        except self._psutil.Error:
            return None
        return int(getattr(full, "pss", 0) or full.uss)

    def uss(self, pid: int) -> int | None:
        try:
            return int(self._psutil.Process(pid).memory_full_info().uss)
        except self._psutil.Error:
            return None


def default_reader() -> str:
    return "proc" if os.path.exists("/proc/self/stat") else "psutil"


def tree_for(reader: str) -> Tree:
    """`reader` is "proc" or "psutil"."""
    return ProcTree() if reader == "proc" else PsutilTree()


def started(pid: int) -> float | None:
    """When a live process began, in whatever this system counts it: with the pid it names one process of this host.

    None when it is not alive. On Linux it is counted from the machine's start, so setting the clock changes nothing
    (`psutil.Process.create_time` moves with the clock).
    """
    return tree_for(default_reader()).started(pid)
