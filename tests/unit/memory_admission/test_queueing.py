"""Who goes next."""

from datetime import timedelta

from memory.conf import MIB
from memory.queueing import Blocked, Room, in_order, light_share, plan
from tests.unit.memory_admission.builders import EPOCH, candidate, charge

PATIENCE = timedelta(seconds=60)
BUDGET = 2048 * MIB  # of which 1792 MB for heavy operations


def room(*running: object, slots: int = 3, available_mb: int | None = None) -> Room:
    available = None if available_mb is None else available_mb * MIB
    return Room(BUDGET, slots, running, available)  # type: ignore[arg-type]


def keys(*candidates: object, in_room: Room, blocked: Blocked | None = None) -> list[str]:
    decision = plan(candidates, in_room, now=EPOCH, patience=PATIENCE, blocked=blocked)  # type: ignore[arg-type]
    return [one.key for one in decision.order]


def test_the_owner_with_fewer_running_goes_first() -> None:
    busy, idle = candidate("busy", 1, owner="ann", priority=9, waited=90), candidate("idle", 1, owner="bob")
    assert [c.key for c in in_order([busy, idle], room(charge("x", 1, owner="ann")))] == ["idle", "busy"]


def test_what_an_owner_runs_on_other_hosts_counts_too() -> None:
    busy, idle = candidate("busy", 1, owner="ann", waited=90), candidate("idle", 1, owner="bob")
    assert [c.key for c in in_order([busy, idle], Room(BUDGET, 3, busy_elsewhere=("ann",)))] == ["idle", "busy"]


def test_light_operations_do_not_count_against_their_owner() -> None:
    older, newer = candidate("older", 1, owner="ann", waited=9), candidate("newer", 1, owner="bob")
    ordered = in_order([newer, older], room(charge("probe", 1, owner="ann", heavy=False)))
    assert [c.key for c in ordered] == ["older", "newer"]


def test_among_equals_priority_comes_before_age() -> None:
    old, urgent = candidate("old", 1, waited=90), candidate("urgent", 1, priority=1)
    assert [c.key for c in in_order([old, urgent], room())] == ["urgent", "old"]


def test_among_equals_of_one_priority_the_oldest_goes_first() -> None:
    assert [c.key for c in in_order([candidate("a", 1, waited=1), candidate("b", 1, waited=2)], room())] == ["b", "a"]


def test_a_smaller_one_may_overtake_a_head_that_does_not_fit() -> None:
    waiting = candidate("big", 1500, waited=9), candidate("small", 100)
    assert keys(*waiting, in_room=room(charge("x", 1000))) == ["small"]


def test_nothing_overtakes_a_head_that_was_held_up_long_enough() -> None:
    waiting = candidate("big", 1500, waited=9), candidate("small", 100)
    blocked = Blocked("big", EPOCH - PATIENCE)
    assert keys(*waiting, in_room=room(charge("x", 1000)), blocked=blocked) == []


def test_a_head_that_only_waited_in_the_queue_has_not_been_held_up() -> None:
    waiting = candidate("big", 1500, waited=9000), candidate("small", 100)
    assert keys(*waiting, in_room=room(charge("x", 1000))) == ["small"]


def test_the_head_that_is_held_up_is_remembered_with_its_time() -> None:
    blocked = Blocked("big", EPOCH - timedelta(seconds=5))
    waiting = [candidate("big", 1500, waited=9), candidate("newer", 1400, priority=5)]
    decision = plan(waiting, room(charge("x", 1000)), now=EPOCH, patience=PATIENCE, blocked=blocked)
    assert decision.blocked == blocked


def test_one_that_waits_for_a_place_is_not_held_up_by_memory() -> None:
    full = room(*(charge(key, 10) for key in "xyz"))
    assert plan([candidate("a", 10)], full, now=EPOCH, patience=PATIENCE, blocked=None).blocked is None


def test_a_candidate_that_left_the_queue_holds_nobody_back() -> None:
    gone = Blocked("gone", EPOCH - 9 * PATIENCE)
    assert keys(candidate("small", 100), in_room=room(charge("x", 1000)), blocked=gone) == ["small"]


def test_one_that_can_never_fit_holds_nobody_back() -> None:
    assert keys(candidate("giant", 1793, waited=9), candidate("small", 1), in_room=room()) == ["small"]


def test_nothing_is_held_back_when_other_programs_have_the_memory() -> None:
    blocked = Blocked("big", EPOCH - 9 * PATIENCE)
    waiting = candidate("big", 1500, waited=9), candidate("small", 100)
    assert keys(*waiting, in_room=room(charge("x", 50, observed_mb=50), available_mb=600), blocked=blocked) == ["small"]


def test_light_operations_may_use_the_whole_budget_while_nobody_waits_for_it() -> None:
    assert room().free_light(drained_for_heavy=False) == BUDGET


def test_light_operations_keep_to_their_share_while_a_heavy_one_is_waited_for() -> None:
    assert room().free_light(drained_for_heavy=True) == light_share(BUDGET) == 256 * MIB


def test_heavy_operations_leave_light_ones_their_share_of_what_is_really_available() -> None:
    scarce = room(available_mb=1000)
    assert scarce.free_heavy == (1000 - 256) * MIB
    assert room(charge("x", 744), available_mb=1000).free_light(drained_for_heavy=True) == 256 * MIB
