"""What an attempt makes of its child's words and readings, with a clock of its own and no database."""

from typing import Any
from uuid import uuid4

import pytest

from memory.processes import EndReason, TreeSample
from separation.services import stopping
from separation.services.children import parse_event
from separation.services.supervision import AttemptWatch, StopCause
from separation.states import Fence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Nobody:
    """A limiter under no pressure."""

    def renew(self, reservation_id: int, *, observed_bytes: int) -> bool:
        return True

    def choose_victim(self) -> Any:
        return None


class Watch(AttemptWatch):
    """Keeps what it would have asked and written."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Fence(uuid4(), 1), reservation_id=1, limiter=Nobody(), lease_seconds=60, clock=clock)
        self.acts: list[str] = []

    def _look(self) -> None:
        self.acts.append("look")

    def _write_progress(self) -> None:
        self.acts.append("progress")

    def _renew(self) -> None:
        self.acts.append("renew")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock)


def test_each_duty_is_done_at_its_own_pace(clock: Clock, watch: Watch) -> None:
    for tenth in range(101):
        clock.now = tenth / 10
        assert watch.should_stop() is None
    counts = {name: watch.acts.count(name) for name in ("look", "progress", "renew")}
    assert counts["renew"] == 3 and 9 <= counts["progress"] <= 11 and 20 <= counts["look"] <= 26


def test_what_a_child_holds_is_reported_from_its_first_reading(watch: Watch) -> None:
    watch.should_stop()
    watch.on_sample(TreeSample(100, None, 1, 100, 0.0))
    watch.should_stop()
    assert watch.acts.count("renew") == 2


def test_that_a_child_has_ended_is_reported_at_the_next_beat(watch: Watch) -> None:
    watch.on_sample(TreeSample(100, None, 1, 100, 0.0))
    watch.should_stop()
    watch.child_ended()
    watch.beat()
    assert (watch.acts.count("renew"), watch._current_bytes, watch.peak_bytes) == (2, 0, 100)


def test_time_left_follows_the_pace_since_separation_began(clock: Clock, watch: Watch) -> None:
    watch.on_line('{"event": "phase", "phase": "separating"}')
    clock.now = 10
    watch.on_line('{"event": "progress", "fraction": 0.2}')
    clock.now = 20
    watch.on_line('{"event": "progress", "fraction": 0.6}')
    assert watch._eta() == 10.0


def test_there_is_no_time_left_to_tell_before_separation(watch: Watch) -> None:
    watch.on_line('{"event": "progress", "fraction": 0.2}')
    assert watch._eta() is None


@pytest.mark.parametrize("line", ["", "hello", "[1]", "{", '{"event": "progress", "fraction": "x"}', "9" * 100_000])
def test_lines_that_are_no_events_change_nothing(line: str, watch: Watch) -> None:
    watch.on_line(line)
    assert (watch.result, watch.error, watch._fraction) == (None, None, 0.0)


def test_progress_never_goes_back_or_beyond_the_end(watch: Watch) -> None:
    for fraction in (0.5, 0.3, 7):
        watch.on_line(f'{{"event": "progress", "fraction": {fraction}}}')
    assert watch._fraction == 1.0


def test_last_words_are_kept(watch: Watch) -> None:
    watch.on_line('{"event": "error", "code": "disk_full", "message": "Full."}')
    watch.on_line('{"event": "result", "outputs": []}')
    assert watch.error is not None and watch.error["code"] == "disk_full"
    assert watch.result == {"event": "result", "outputs": []}


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (StopCause.CANCELLED, EndReason.CANCELLED),
        (StopCause.FENCE_LOST, EndReason.CANCELLED),
        (StopCause.STOPPING, EndReason.CANCELLED),
        (StopCause.PRESSURE, EndReason.HOST_OUT_OF_MEMORY),
    ],
)
def test_each_cause_asks_for_the_right_end(cause: StopCause, reason: EndReason, watch: Watch) -> None:
    watch._stop(cause)
    assert watch.should_stop() is reason


def test_the_first_cause_stands_unless_the_job_is_lost(watch: Watch) -> None:
    watch._stop(StopCause.CANCELLED)
    watch._stop(StopCause.PRESSURE)
    assert watch.cause is StopCause.CANCELLED
    watch._stop(StopCause.FENCE_LOST)
    assert watch.cause is StopCause.FENCE_LOST


def test_a_stopping_cluster_ends_its_attempts(watch: Watch) -> None:
    stopping.request()
    try:
        assert watch.should_stop() is EndReason.CANCELLED
    finally:
        stopping.withdraw()


def test_an_event_longer_than_any_real_one_is_dropped() -> None:
    assert parse_event('{"event": "' + "x" * 100_000 + '"}') == {}
