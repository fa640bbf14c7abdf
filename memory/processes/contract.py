"""The words in which a supervised operation is asked for and reported. Owns no behaviour."""

from dataclasses import dataclass
from enum import StrEnum


class EndReason(StrEnum):
    """How a supervised operation ended; exactly one applies."""

    COMPLETED = "completed"
    FAILED = "failed"  # its own exit status, or it could not be started
    MEMORY_LIMIT = "memory_limit"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    KILLED = "killed"  # ended by a signal from outside that this service did not send
    CRASHED = "crashed"  # a fault of its own: SIGSEGV, SIGABRT, ...
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class OperationLimits:
    """What one operation's whole process tree may use. Sizes in bytes, times in seconds.

    `stall_seconds` is the longest silence on its standard output. `grace_seconds` lie between SIGTERM and
    SIGKILL. `data_bytes` is an RLIMIT_DATA for each process: allocations beyond it fail inside the process.
    """

    memory_bytes: int
    wall_seconds: float | None = None
    stall_seconds: float | None = None
    grace_seconds: float = 2.0
    data_bytes: int | None = None


@dataclass(frozen=True)
class TreeSample:
    """One look at the tree. `rss_bytes` includes swapped-out pages; `pss_bytes` is read only near the limit.

    `peak_bytes` is the highest use so far, `at` the monotonic clock.
    """

    rss_bytes: int
    pss_bytes: int | None
    processes: int
    peak_bytes: int
    at: float

    @property
    def used_bytes(self) -> int:
        """What counts against the limit."""
        return self.rss_bytes if self.pss_bytes is None else min(self.pss_bytes, self.rss_bytes)


@dataclass(frozen=True)
class Outcome:
    """How an operation ended. One of `returncode` and `signal` is set once the program has run.

    `stderr_tail` is the end of what it wrote to its standard error; `layers` names the enforcement in force;
    `message` is a sentence for people, with the numbers.
    """

    reason: EndReason
    returncode: int | None
    signal: int | None
    peak_bytes: int
    wall_seconds: float
    cpu_seconds: float
    stderr_tail: str
    layers: tuple[str, ...]
    message: str

    @property
    def ok(self) -> bool:
        return self.reason is EndReason.COMPLETED
