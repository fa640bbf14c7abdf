"""Evidence in, reason and sentence out."""

import signal

import pytest

from memory.processes.classify import Evidence, classify, describe
from memory.processes.contract import EndReason, OperationLimits
from memory.quantities import MIB

LIMITS = OperationLimits(1000 * MIB, wall_seconds=60, stall_seconds=30, data_bytes=1100 * MIB)


def evidence(**facts: object) -> Evidence:
    return Evidence(LIMITS, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"returncode": 0}, EndReason.COMPLETED),
        ({"returncode": 3}, EndReason.FAILED),
        ({"start_error": "no such file"}, EndReason.FAILED),
        ({"signal": signal.SIGKILL}, EndReason.KILLED),
        ({"signal": signal.SIGTERM}, EndReason.KILLED),
        ({"signal": signal.SIGSEGV}, EndReason.CRASHED),
        ({"signal": signal.SIGABRT}, EndReason.CRASHED),
        ({"signal": signal.SIGKILL, "host_kills": 1}, EndReason.HOST_OUT_OF_MEMORY),
        ({"signal": signal.SIGKILL, "wall_kills": 1, "host_kills": 1}, EndReason.MEMORY_LIMIT),
        ({"returncode": 1, "wall_kills": 1}, EndReason.MEMORY_LIMIT),
        ({"returncode": 0, "wall_kills": 1}, EndReason.COMPLETED),
        ({"signal": signal.SIGSEGV, "host_kills": 1}, EndReason.CRASHED),
        ({"cause": "memory_limit", "signal": signal.SIGTERM}, EndReason.MEMORY_LIMIT),
        ({"cause": "memory_limit", "returncode": 0}, EndReason.MEMORY_LIMIT),
        ({"cause": "timed_out", "signal": signal.SIGKILL}, EndReason.TIMED_OUT),
        ({"cause": "requested", "requested": EndReason.STALLED}, EndReason.STALLED),
        ({"cause": "killed_outside", "signal": signal.SIGKILL}, EndReason.KILLED),
        ({"guardian_lost": True}, EndReason.KILLED),
        ({"returncode": 0, "requested": EndReason.CANCELLED}, EndReason.COMPLETED),
    ],
)
def test_the_reason_follows_from_the_evidence(facts: dict[str, object], reason: EndReason) -> None:
    assert classify(evidence(**facts)) is reason


def test_a_kernel_kill_at_a_scope_near_the_limit_is_the_limit() -> None:
    near = evidence(signal=signal.SIGKILL, host_kills=1, walled=True, peak_bytes=990 * MIB)
    assert classify(near) is EndReason.MEMORY_LIMIT


def test_a_kernel_kill_in_a_scope_far_from_the_limit_is_the_machine() -> None:
    far = evidence(signal=signal.SIGKILL, host_kills=1, walled=True, peak_bytes=100 * MIB)
    assert classify(far) is EndReason.HOST_OUT_OF_MEMORY


@pytest.mark.parametrize(
    "said",
    [
        "MemoryError",
        "av_malloc: Cannot allocate memory",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes",
        "numpy: Unable to allocate 1.00 GiB",
    ],
)
@pytest.mark.parametrize("near", [{"peak_bytes": 900 * MIB}, {"peak_data": 1000 * MIB}])
def test_a_failed_allocation_near_a_limit_is_that_limit(said: str, near: dict[str, int]) -> None:
    assert classify(evidence(returncode=1, stderr_tail=said, **near)) is EndReason.MEMORY_LIMIT


def test_a_failed_allocation_that_aborts_near_the_limit_is_the_limit() -> None:
    aborted = evidence(signal=signal.SIGABRT, stderr_tail="std::bad_alloc", peak_bytes=950 * MIB)
    assert classify(aborted) is EndReason.MEMORY_LIMIT


def test_a_failed_allocation_far_from_the_limit_is_its_own_failure() -> None:
    assert classify(evidence(returncode=1, stderr_tail="MemoryError", peak_bytes=100 * MIB)) is EndReason.FAILED


def test_another_failure_near_the_limit_is_its_own_failure() -> None:
    assert classify(evidence(returncode=1, stderr_tail="bad file", peak_bytes=990 * MIB)) is EndReason.FAILED


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"returncode": 0, "wall_seconds": 2.0, "peak_bytes": 640 * MIB}, "Completed in 2.0 s with a peak of 640 MB"),
        ({"cause": "memory_limit", "peak_bytes": 1010 * MIB}, "it reached 1010 MB, and its limit is 1000 MB"),
        ({"cause": "timed_out", "wall_seconds": 61.2}, "after 61 s: its time limit is 60 s"),
        ({"cause": "requested", "requested": EndReason.STALLED}, "nothing was heard from it for 30 s"),
        ({"cause": "requested", "requested": EndReason.CANCELLED, "wall_seconds": 4.0}, "Cancelled after 4.0 s"),
        ({"signal": 9}, "Ended from outside by SIGKILL"),
        ({"signal": 9, "host_kills": 1}, "the machine ran out of memory"),
        ({"signal": 11}, "Crashed with SIGSEGV"),
        ({"signal": 63}, "Crashed with signal 63"),
        ({"returncode": 3, "stderr_tail": "noise\n\nno such codec.\n"}, "exit status 3: no such codec."),
        ({"returncode": 3}, "Failed with exit status 3."),
        ({"start_error": "ffmpeg: No such file"}, "Could not be started: ffmpeg: No such file."),
        ({"guardian_lost": True}, "guarding it was killed"),
    ],
)
def test_the_sentence_has_the_numbers(facts: dict[str, object], words: str) -> None:
    known = evidence(**facts)
    assert words in describe(classify(known), known)
