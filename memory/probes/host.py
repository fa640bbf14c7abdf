"""What the machine, and the part of it this process may use, has in memory.

Owns meminfo, resource limits, swap and pressure, and the least of all limits. Every reading takes the
filesystem root. Where there is no `/proc` (macOS) psutil answers, and `sources` says so.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from memory.probes.cgroups import group_pressure, hierarchies, limited_groups

KIB = 1024
ROOT = Path("/")


@dataclass(frozen=True)
class HostReading:
    """Memory in bytes. `effective_limit` is the least of physical memory, own control groups and rlimits, and
    `available` the least of what each leaves; `used` is the difference. `psi_some_avg10` is the share of the last
    10 s, in percent, in which some task waited for memory. `sources` names what was there to be read.
    """

    total: int
    effective_limit: int
    available: int
    used: int
    swap_used: int
    psi_some_avg10: float | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class _Physical:
    total: int
    available: int
    swap_used: int
    source: str


def own_rlimit() -> list[int]:
    """The least of this process's own limits on its memory, as a list of one; empty when it has none."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_RSS)
    limits = [soft for kind in kinds if (soft := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY]
    return [min(limits)] if limits else []


def read_host(root: Path = ROOT, *, own_limits: Callable[[], list[int]] = own_rlimit) -> HostReading:
    """One reading of everything."""
    physical, groups, rlimit = _physical(root), limited_groups(root), own_limits()
    effective = min([physical.total, *(group.limit for group in groups), *rlimit])
    available = min([physical.available, *(group.available for group in groups), *rlimit])
    pressure = _pressure(root)
    return HostReading(
        total=physical.total,
        effective_limit=effective,
        available=available,
        used=max(effective - available, 0),
        swap_used=physical.swap_used,
        psi_some_avg10=pressure,
        sources=_sources(root, physical, bool(rlimit), pressure is not None),
    )


def _sources(root: Path, physical: _Physical, rlimit: bool, pressure: bool) -> tuple[str, ...]:
    names = [physical.source]
    names += [f"cgroup{hierarchy.version}" for hierarchy in hierarchies(root) if _accounts(hierarchy.version, root)]
    names += ["rlimit"] if rlimit else []
    return tuple([*names, "psi"] if pressure else names)


def _accounts(version: int, root: Path) -> bool:
    name = "memory.current" if version == 2 else "memory.usage_in_bytes"
    return any(
        (folder / name).exists()
        for hierarchy in hierarchies(root)
        if hierarchy.version == version
        for folder in hierarchy.ancestry()
    )


def _physical(root: Path) -> _Physical:
    """proc_meminfo(5), or psutil where there is none."""
    try:
        content = (root / "proc/meminfo").read_text()
    except OSError:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return _Physical(memory.total, memory.available, swap.used, "psutil")
    fields = {
        key: int(rest.split()[0]) * KIB for key, _, rest in (line.partition(":") for line in content.splitlines())
    }
    free = fields["MemFree"] + fields.get("Cached", 0) + fields.get("Buffers", 0)
    return _Physical(
        fields["MemTotal"],
        fields.get("MemAvailable", free),
        fields.get("SwapTotal", 0) - fields.get("SwapFree", 0),
        "meminfo",
    )


def _pressure(root: Path) -> float | None:
    """The worse of the own group's and the machine's pressure; None where the kernel doesn't tell."""
    try:
        machine = (root / "proc/pressure/memory").read_text()
    except OSError:
        machine = ""
    values = [value for text in (machine, group_pressure(root)) if (value := _some_avg10(text)) is not None]
    return max(values, default=None)


def _some_avg10(text: str) -> float | None:
    """`some avg10=0.12 avg60=… avg300=… total=…` -> 0.12"""
    for line in text.splitlines():
        kind, *pairs = line.split()
        if kind == "some":
            return next((float(pair[6:]) for pair in pairs if pair.startswith("avg10=")), None)
    return None
