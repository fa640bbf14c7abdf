"""Pure decisions: a reading and its limits in, an action out.

Owns when a supervised tree is warned, terminated or killed, how soon it is looked at again, and when a
service process stops and resumes taking work. Reads nothing and does nothing; the guardian imports it, so
it imports nothing slow.
"""

from enum import IntEnum
from typing import NamedTuple

GIB = 1024**3
WARN_FRACTION = 0.85  # of a tree's limit
KILL_FRACTION = 1.05
SHORTEST_LOOK = 0.001  # seconds; one look at a small tree costs about 0.1 ms
NICENESS = 5  # of supervised programs: a guardian that has to wait for a core looks too late
FILL_RATE_PER_CORE = 12 * GIB  # bytes/s; fresh huge pages were seen to come at 15 GB/s on two cores, small ones at 6


class Action(IntEnum):
    """What to do with a tree, mildest first."""

    CONTINUE = 0
    WARN = 1
    TERMINATE = 2
    KILL = 3


class TreeLimits(NamedTuple):
    """What one supervised tree may hold, and the shares of it at which something happens."""

    memory_bytes: int
    warn_fraction: float = WARN_FRACTION
    kill_fraction: float = KILL_FRACTION

    @property
    def warn_at(self) -> int:
        return int(self.memory_bytes * self.warn_fraction)

    @property
    def kill_at(self) -> int:
        return int(self.memory_bytes * self.kill_fraction)


def tree_action(used: int, limits: TreeLimits) -> Action:
    """Over the limit a tree is asked to end; well over it, it is killed without being asked."""
    if used > limits.kill_at:
        return Action.KILL
    if used > limits.memory_bytes:
        return Action.TERMINATE
    return Action.WARN if used > limits.warn_at else Action.CONTINUE


def fill_rate(cores: int) -> int:
    """Bytes per second that a machine's processes can make resident at most: 24 to 96 GiB/s."""
    return FILL_RATE_PER_CORE * min(max(cores, 2), 8)


def next_look(used: int, limit: int, *, poll_seconds: float, rate: int, cost: float = 0.0) -> float:
    """Seconds until the next reading, so that no allocator can cross the limit unseen for long.

    The room left divided by the fastest rate at which memory can fill: far from the limit that is more
    than `poll_seconds`, near it a few milliseconds. `cost` is the processor time of the last reading,
    in seconds; looking never takes more than about a fifth of a core.
    """
    room = max(limit - used, 0)
    return min(max(room / rate, SHORTEST_LOOK, 4 * cost), max(poll_seconds, SHORTEST_LOOK))


def may_accept(used: int, *, limit: int, resume_at: int, accepting: bool) -> bool:
    """Whether a service process takes new work: not over `limit`, and once over it not before `resume_at`."""
    return used <= limit if accepting else used < resume_at
