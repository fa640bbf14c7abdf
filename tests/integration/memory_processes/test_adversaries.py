"""Children that misbehave, for real: each is classified right, and its whole tree is gone."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from memory.processes import EndReason, Outcome, ProcessResourceManager, TreeSample
from memory.quantities import MIB, format_bytes
from tests.integration.memory_processes import children
from tests.integration.memory_processes.conftest import Lab, wait_for


def test_a_child_that_fills_memory_as_fast_as_it_can_is_ended_close_to_its_limit(lab: Lab) -> None:
    outcome = lab.run(children.FILLS_FAST, limit_mb=256)
    assert outcome.reason is EndReason.MEMORY_LIMIT
    assert outcome.peak_bytes <= 1.15 * 256 * MIB
    assert lab.alive() == []


def test_a_child_that_leaks_slowly_is_ended_at_its_limit(lab: Lab) -> None:
    outcome = lab.run(children.LEAKS_SLOWLY, limit_mb=100)
    assert outcome.reason is EndReason.MEMORY_LIMIT
    assert outcome.peak_bytes <= 1.1 * 100 * MIB


def test_the_message_of_a_child_over_its_limit_names_both_numbers(lab: Lab) -> None:
    outcome = lab.run(children.LEAKS_SLOWLY, limit_mb=100)
    assert "its limit is 100 MB" in outcome.message
    assert f"it reached {format_bytes(outcome.peak_bytes)}" in outcome.message


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(lab: Lab) -> None:
    outcome = lab.run(children.IGNORES_SIGTERM, limit_mb=150, grace_seconds=0.3)
    assert (outcome.reason, outcome.signal) == (EndReason.MEMORY_LIMIT, signal.SIGKILL)


def test_fifty_forks_that_each_hold_a_little_are_over_the_limit_together(lab: Lab) -> None:
    outcome = lab.run(children.FORKS_FIFTY.format(each=6, seconds=60), limit_mb=150)
    assert outcome.reason is EndReason.MEMORY_LIMIT
    assert lab.alive() == []


def test_fifty_forks_within_the_limit_are_left_alone(lab: Lab) -> None:
    outcome = lab.run(children.FORKS_FIFTY.format(each=1, seconds=0.3), limit_mb=200)
    assert outcome.reason is EndReason.COMPLETED


def test_a_daemon_that_left_the_session_still_counts_and_is_ended(lab: Lab) -> None:
    outcome = lab.run(children.DAEMON_LEAKS, limit_mb=120)
    assert outcome.reason is EndReason.MEMORY_LIMIT
    assert lab.alive() == []


def test_a_daemon_left_behind_by_a_finished_program_is_ended(lab: Lab) -> None:
    lines: list[str] = []
    outcome = lab.run(children.LEAVES_A_DAEMON, on_line=lines.append)
    assert (outcome.reason, lines) == (EndReason.COMPLETED, ["left"])
    assert lab.alive() == []


def test_pages_shared_with_forks_are_counted_once(lab: Lab) -> None:
    samples: list[TreeSample] = []
    outcome = lab.run(children.SHARES_WITH_FORKS, limit_mb=420, on_sample=samples.append)
    assert outcome.reason is EndReason.COMPLETED
    assert max(sample.rss_bytes for sample in samples) > 1000 * MIB
    assert outcome.peak_bytes < 420 * MIB


def test_a_program_is_not_counted_twice_while_it_starts_another(lab: Lab) -> None:
    outcome = lab.run(children.STARTS_PROGRAMS, limit_mb=250)
    assert outcome.reason is EndReason.COMPLETED
    assert outcome.peak_bytes < 200 * MIB


def test_pages_that_forks_stop_sharing_are_counted(lab: Lab) -> None:
    outcome = lab.run(children.UNSHARES_IN_FORKS, limit_mb=200)
    assert outcome.reason is EndReason.MEMORY_LIMIT


def test_a_memory_error_of_its_own_far_from_the_limit_is_its_own_failure(lab: Lab) -> None:
    outcome = lab.run("raise MemoryError('no room for a petabyte')")
    assert (outcome.reason, outcome.returncode) == (EndReason.FAILED, 1)
    assert "no room for a petabyte" in outcome.message


def test_a_child_that_fails_to_allocate_at_its_data_limit_is_over_its_memory_limit(lab: Lab) -> None:
    outcome = lab.run(children.FILLS_FAST, limit_mb=200, data_bytes=190 * MIB)
    assert (outcome.reason, outcome.returncode) == (EndReason.MEMORY_LIMIT, 1)
    assert "rlimit_data" in outcome.layers


def test_a_child_killed_from_outside_is_told_from_one_ended_here(lab: Lab) -> None:
    outcome = lab.run("import os; os.kill(os.getpid(), 9)")
    assert (outcome.reason, outcome.signal) == (EndReason.KILLED, signal.SIGKILL)


def test_a_child_killed_while_the_kernel_counted_an_oom_kill_fell_to_the_machine() -> None:
    counts = iter((7, 8))
    lab = Lab(ProcessResourceManager(poll_seconds=0.1, oom_kills=lambda: next(counts)))
    outcome = lab.run("import os; os.kill(os.getpid(), 9)")
    assert outcome.reason is EndReason.HOST_OUT_OF_MEMORY


def test_a_fault_of_its_own_is_a_crash(lab: Lab) -> None:
    outcome = lab.run("import ctypes; ctypes.string_at(0)")
    assert (outcome.reason, outcome.signal) == (EndReason.CRASHED, signal.SIGSEGV)


def test_a_child_may_run_only_for_so_long(lab: Lab) -> None:
    assert lab.run(children.SLEEPS, wall_seconds=0.2).reason is EndReason.TIMED_OUT


def test_a_child_that_falls_silent_has_stalled(lab: Lab) -> None:
    outcome = lab.run("print('hello', flush=True)\n" + children.SLEEPS, stall_seconds=0.3)
    assert outcome.reason is EndReason.STALLED


def test_a_child_that_keeps_talking_has_not_stalled(lab: Lab) -> None:
    code = "import time\nfor _ in range(46):\n print(1, flush=True)\n time.sleep(0.05)"
    assert lab.run(code, stall_seconds=2).reason is EndReason.COMPLETED


@pytest.mark.parametrize("wanted", [EndReason.CANCELLED, EndReason.HOST_OUT_OF_MEMORY])
def test_the_caller_can_end_it_for_a_reason_of_its_own(lab: Lab, wanted: EndReason) -> None:
    assert lab.run(children.SLEEPS, should_stop=lambda: wanted).reason is wanted


def test_a_stopped_child_can_be_cancelled(lab: Lab) -> None:
    code = "import os; os.kill(os.getpid(), 19)"

    def cancel_once_stopped() -> EndReason | None:
        return EndReason.CANCELLED if any(_state(pid) == "T" for pid in lab.alive()) else None

    outcome = lab.run(code, should_stop=cancel_once_stopped, grace_seconds=0.2)
    assert (outcome.reason, outcome.signal) == (EndReason.CANCELLED, signal.SIGKILL)


def test_a_child_that_ends_well_when_asked_is_cancelled_all_the_same(lab: Lab) -> None:
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\nprint(1, flush=True)\ntime.sleep(60)"
    ready = threading.Event()
    outcome = lab.run(
        code,
        on_line=lambda _line: ready.set(),
        should_stop=lambda: EndReason.CANCELLED if ready.is_set() else None,
    )
    assert (outcome.reason, outcome.returncode) == (EndReason.CANCELLED, 0)


def test_a_caller_that_is_busy_does_not_hold_up_the_limit(lab: Lab) -> None:
    """The line arrives before the child starts to fill; the callback returns only once the child is gone."""
    code = "import os\nprint(os.getpid(), flush=True)\n" + children.LEAKS_SLOWLY
    outcome = lab.run(code, limit_mb=100, on_line=lambda pid: wait_for(lambda: not _alive(int(pid))))
    assert outcome.reason is EndReason.MEMORY_LIMIT


def test_a_child_over_its_limit_is_ended_alone(manager: ProcessResourceManager) -> None:
    quiet, greedy = Lab(manager), Lab(manager)
    outcomes: list[Outcome] = []
    ended = threading.Event()
    sibling = threading.Thread(
        target=lambda: outcomes.append(
            quiet.run(children.SLEEPS, should_stop=lambda: EndReason.CANCELLED if ended.is_set() else None)
        )
    )
    sibling.start()
    wait_for(lambda: len(quiet.alive()) == 2)
    assert greedy.run(children.FILLS_FAST, limit_mb=128).reason is EndReason.MEMORY_LIMIT
    assert len(quiet.alive()) == 2  # the sibling and its guardian
    ended.set()
    sibling.join()
    assert outcomes[0].reason is EndReason.CANCELLED


def _state(pid: int) -> str:
    """The letter that proc_pid_stat(5) gives; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_only_writes_errors_has_stalled(lab: Lab) -> None:
    code = "import sys, time\nwhile True:\n print('busy', file=sys.stderr, flush=True)\n time.sleep(0.01)"
    assert lab.run(code, stall_seconds=0.3, wall_seconds=10).reason is EndReason.STALLED


def test_what_was_said_during_a_slow_callback_is_no_stall(lab: Lab) -> None:
    """The first line's callback takes longer than a stall; the lines written meanwhile are heard first.

    It still talks then: one that had ended by itself would count as completed whatever was thought of it."""
    code = "import time\nfor n in range(50):\n print(n, flush=True)\n time.sleep(0.05)"
    outcome = lab.run(code, stall_seconds=2, on_line=lambda line: time.sleep(2.2 if line == "0" else 0))
    assert outcome.reason is EndReason.COMPLETED


def test_the_caller_is_warned_once_before_the_limit(lab: Lab) -> None:
    """It stays between the two, so that a late look finds it there as well."""
    warnings: list[int] = []
    after: list[TreeSample] = []
    outcome = lab.run(
        children.HOLD + "held = hold(91 << 20)\ntime.sleep(60)",
        limit_mb=100,
        on_warning=warnings.append,
        on_sample=lambda sample: after.append(sample) if warnings else None,
        should_stop=lambda: EndReason.CANCELLED if len(after) >= 3 else None,
    )
    assert outcome.reason is EndReason.CANCELLED
    [used] = warnings
    assert 85 * MIB < used <= 100 * MIB
