"""Which of the enforcement layers hold on this machine, for people to see. Enforces nothing."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from memory.walls import delegated_group, scope_manager


@dataclass(frozen=True)
class Layer:
    """`name` as operations report it, whether this machine has it, and what it does in one sentence."""

    name: str
    active: bool
    meaning: str


@functools.cache
def enforcement_layers() -> tuple[Layer, ...]:
    """What the machine offers, asked once per process; what one operation had is on its own record."""
    linux = sys.platform.startswith("linux")
    return (
        Layer("admission", True, "Memory is reserved before an operation starts; what does not fit waits."),
        Layer("supervisor", True, "The whole process tree is looked at every 100 ms and ended over its limit."),
        Layer("host_guard", True, "When the machine runs short, admission pauses, then one operation is ended."),
        Layer("cgroup2", delegated_group() is not None, "The kernel itself limits each operation (delegated cgroup)."),
        Layer("systemd_scope", scope_manager() is not None, "The kernel itself limits each operation (systemd scope)."),
        Layer("rlimit_data", linux, "A child that asks for more than its data limit is refused by the kernel."),
        Layer("oom_score_adj", Path("/proc/self/oom_score_adj").exists(), "The kernel spares workers, not children."),
        Layer("subreaper", linux, "No descendant can escape its supervisor, not even by forking twice."),
        Layer("parent_death_signal", linux, "If the supervisor is killed, its children go with it."),
    )
