"""How malloc and OpenMP behave in the engine. No torch.

Most must be in the environment before the process starts: glibc and OpenMP read it when a process is loaded, so whoever
starts the engine passes the settings on; an engine started without them starts itself again with them.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping

# Activations of 33 to 66 MB that are mapped afresh for every operation cost a fault a page: in virtual machines
# up to a third of the time. Keeping freed memory, in huge pages, makes that nothing. The few largest are mapped all the
# same (32 MiB is the highest threshold glibc takes): kept, the holes they leave would cost 50 to 90 MB.
_MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2:"
    "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4000000000"
)

_M_MMAP_THRESHOLD = -3  # malloc.h
SHARED_KEEP = 5_000_000
"""The largest block that is kept when several threads have activations of their own, in bytes."""


def keep_less() -> bool:
    """Map what is larger than `SHARED_KEEP` afresh, and give it back when it is freed; False where that can't be set.

    Each thread would keep its own, and how they lie is chance: peaks of the starter in two lanes were up to 50 MB
    apart. From 4 MB on there are so many blocks that mapping them takes a twentieth of the time.
    """
    return _has_glibc() and bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, SHARED_KEEP))


def _has_glibc() -> bool:
    return platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"


def engine_environment() -> dict[str, str]:
    """Variables to add to the engine's environment."""
    # A thread that sleeps between two operations must be woken, which costs more than most operations: a segment
    # took a third longer. One that spins for long steals the core that another job needs: two jobs took three
    # times as long. So it spins for about as long as a wake-up takes, and then sleeps.
    variables = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
    if _has_glibc():
        variables["GLIBC_TUNABLES"] = _MALLOC
    return variables


def missing(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of `engine_environment` that `environment` says nothing about."""
    return {name: value for name, value in engine_environment().items() if name not in environment}


def restart_with_environment(argv: list[str]) -> None:
    """Replace this process by itself with the environment completed; return if it is complete."""
    lacking = missing(os.environ)
    if lacking:
        os.execve(argv[0], argv, {**os.environ, **lacking})
