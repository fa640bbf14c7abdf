"""Whether two processes run in one address space.

A program that starts another is two processes over the same memory for a moment (vfork(2)), and the kernel shows
all of it under both. The guardian imports this, so it imports nothing slow.
"""

import ctypes
import os
import sys

KCMP_VM = 1  # kcmp(2)
KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272}


def _number() -> int | None:
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return None
    return KCMP.get(os.uname().machine)


_NUMBER = _number()
_SYSCALL = ctypes.CDLL(None).syscall if _NUMBER is not None else None


def one_memory(pid: int, other: int) -> bool | None:
    """What the kernel says; None where it does not (an old one, a container that forbids the question, a macOS)."""
    if _SYSCALL is None:
        return None
    answer = _SYSCALL(_NUMBER, pid, other, KCMP_VM, 0, 0)
    return None if answer < 0 else answer == 0
