"""Why did it end? Pure: evidence in, reason and sentence out."""

import signal
from dataclasses import dataclass
from signal import Signals

from memory.processes.contract import EndReason, OperationLimits
from memory.quantities import format_bytes

NEAR = 0.85  # share of a limit from which an allocation failure is put down to that limit
OUTSIDE_SIGNALS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
ALLOCATION_FAILURES = (
    "memoryerror",
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "unable to allocate",
)


@dataclass(frozen=True)
class Evidence:
    """All that is known of an ended operation.

    `cause` is why the guardian ended it ("" when it ended by itself), `requested` why the supervisor asked for
    that. `wall_kills` and `host_kills` are how many processes the kernel's OOM killer took meanwhile, inside the
    operation's own wall and on the machine; `walled` says that there was a wall.
    """

    limits: OperationLimits
    cause: str = ""
    requested: EndReason | None = None
    returncode: int | None = None
    signal: int | None = None
    used_at_end: int = 0
    peak_bytes: int = 0
    peak_data: int = 0
    wall_seconds: float = 0.0
    stderr_tail: str = ""
    wall_kills: int = 0
    host_kills: int = 0
    walled: bool = False
    guardian_lost: bool = False
    start_error: str = ""


def classify(evidence: Evidence) -> EndReason:
    """The one reason that the evidence supports; what this service did itself outranks how the program died."""
    if evidence.cause == "requested" and evidence.requested is not None:
        return evidence.requested
    if evidence.cause in ("memory_limit", "timed_out"):
        return EndReason(evidence.cause)
    if evidence.start_error:
        return EndReason.FAILED
    if evidence.cause == "killed_outside" or evidence.guardian_lost:
        return EndReason.KILLED
    if evidence.returncode == 0:
        return EndReason.COMPLETED
    return _by_its_own_end(evidence)


def _by_its_own_end(evidence: Evidence) -> EndReason:
    if evidence.wall_kills or _ran_into_its_data_limit(evidence):
        return EndReason.MEMORY_LIMIT
    if evidence.signal is None:
        return EndReason.FAILED
    if evidence.signal == signal.SIGKILL and evidence.host_kills:
        return EndReason.MEMORY_LIMIT if evidence.walled and _is_near(evidence) else EndReason.HOST_OUT_OF_MEMORY
    return EndReason.KILLED if evidence.signal in OUTSIDE_SIGNALS else EndReason.CRASHED


def _ran_into_its_data_limit(evidence: Evidence) -> bool:
    """It says that an allocation failed, and one of its two limits was near."""
    said = evidence.stderr_tail.lower()
    if not any(words in said for words in ALLOCATION_FAILURES):
        return False
    data = evidence.limits.data_bytes
    return _is_near(evidence) or (data is not None and evidence.peak_data >= NEAR * data)


def _is_near(evidence: Evidence) -> bool:
    return evidence.peak_bytes >= NEAR * evidence.limits.memory_bytes


def describe(reason: EndReason, evidence: Evidence) -> str:
    """A sentence with the numbers that a person needs to act on it."""
    limits, peak = evidence.limits, format_bytes(evidence.peak_bytes)
    limit = format_bytes(limits.memory_bytes)
    match reason:
        case EndReason.COMPLETED:
            return f"Completed in {_seconds(evidence.wall_seconds)} with a peak of {peak} of {limit}."
        case EndReason.MEMORY_LIMIT:
            return f"Ended for memory: it reached {peak}, and its limit is {limit}."
        case EndReason.HOST_OUT_OF_MEMORY:
            return f"Ended because the machine ran out of memory; it held up to {peak} of its {limit}."
        case EndReason.TIMED_OUT:
            return f"Ended after {_seconds(evidence.wall_seconds)}: its time limit is {_seconds(limits.wall_seconds)}."
        case EndReason.STALLED:
            return f"Ended because nothing was heard from it for {_seconds(limits.stall_seconds)}."
        case EndReason.CANCELLED:
            return f"Cancelled after {_seconds(evidence.wall_seconds)}."
        case _:
            return _describe_failure(reason, evidence)


def _describe_failure(reason: EndReason, evidence: Evidence) -> str:
    peak = format_bytes(evidence.peak_bytes)
    if evidence.start_error:
        return f"Could not be started: {evidence.start_error}."
    if evidence.guardian_lost:
        return f"Ended from outside: the process guarding it was killed. Its peak was {peak}."
    if reason is EndReason.KILLED:
        return f"Ended from outside by {signal_name(evidence.signal)}, not by this service. Its peak was {peak}."
    if reason is EndReason.CRASHED:
        return f"Crashed with {signal_name(evidence.signal)}. Its peak was {peak}."
    return f"Failed with exit status {evidence.returncode}{_last_words(evidence.stderr_tail)}."


def _seconds(seconds: float | None) -> str:
    return f"{seconds or 0:.1f} s" if (seconds or 0) < 10 else f"{seconds:.0f} s"


def signal_name(number: int | None) -> str:
    """ "SIGSEGV" for 11; the number itself where it has no name."""
    try:
        return Signals(number or 0).name
    except ValueError:
        return f"signal {number}" if number else "SIGTERM"


def _last_words(stderr_tail: str) -> str:
    lines = [line.strip() for line in stderr_tail.splitlines() if line.strip()]
    return f": {lines[-1][:300].rstrip('.')}" if lines else ""
