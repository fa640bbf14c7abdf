"""Usage and limits in, action out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.policy import (
    GIB,
    SHORTEST_LOOK,
    Action,
    TreeLimits,
    fill_rate,
    may_accept,
    next_look,
    tree_action,
)
from memory.quantities import MIB

LIMITS = TreeLimits(1000 * MIB, warn_fraction=0.8, kill_fraction=1.1)


@pytest.mark.parametrize(
    ("used_mb", "action"),
    [
        (0, Action.CONTINUE),
        (800, Action.CONTINUE),
        (801, Action.WARN),
        (1000, Action.WARN),
        (1001, Action.TERMINATE),
        (1100, Action.TERMINATE),
        (1101, Action.KILL),
    ],
)
def test_a_threshold_is_crossed_only_above_it(used_mb: int, action: Action) -> None:
    assert tree_action(used_mb * MIB, LIMITS) is action


@given(first=st.integers(0, 4 * GIB), second=st.integers(0, 4 * GIB))
def test_more_memory_never_brings_a_milder_action(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert tree_action(low, LIMITS) <= tree_action(high, LIMITS)


@given(
    used=st.integers(0, 8 * GIB),
    limit=st.integers(MIB, 8 * GIB),
    poll=st.floats(0.001, 1.0),
    cost=st.floats(0, 0.5),
    cores=st.integers(1, 256),
)
def test_the_next_look_comes_before_memory_can_run_past_the_limit(
    used: int, limit: int, poll: float, cost: float, cores: int
) -> None:
    seconds = next_look(used, limit, poll_seconds=poll, rate=fill_rate(cores), cost=cost)
    room = max(limit - used, 0)
    assert SHORTEST_LOOK <= seconds <= max(poll, SHORTEST_LOOK)
    assert seconds * fill_rate(cores) <= room * 1.001 or seconds <= max(SHORTEST_LOOK, 4 * cost)


def test_far_from_the_limit_the_configured_interval_is_kept() -> None:
    assert next_look(100 * MIB, 64 * GIB, poll_seconds=0.1, rate=fill_rate(2)) == 0.1


def test_dear_looks_are_spaced_out() -> None:
    assert next_look(999 * MIB, 1000 * MIB, poll_seconds=0.1, rate=fill_rate(2), cost=0.01) == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("used", "accepting", "expected"),
    [(100, True, True), (101, True, False), (95, False, False), (90, False, False), (89, False, True)],
)
def test_a_process_that_stopped_resumes_only_below_the_lower_mark(used: int, accepting: bool, expected: bool) -> None:
    assert may_accept(used, limit=100, resume_at=90, accepting=accepting) is expected
