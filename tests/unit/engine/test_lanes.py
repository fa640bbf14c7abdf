"""Work divided among threads: segments side by side (`lanes`), parts of a segment (`crew`)."""

import threading
import time

import pytest
import torch

from separation.engine.kernels.crew import divided
from separation.engine.lanes import Lanes


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def numbers(count):
    return (torch.tensor([float(number)]) for number in range(count))


def lanes_alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(count):
    with Lanes(count, 4) as lanes:
        given = [float(result) for result in lanes.map(lambda item: item * 2, numbers(20))]
    assert given == list(range(0, 40, 2))
    assert not lanes_alive()


def test_two_items_are_worked_on_at_the_same_time():
    meeting = threading.Barrier(2, timeout=60)
    with Lanes(2, 2) as lanes:
        assert sum(float(result) for result in lanes.map(lambda item: item + meeting.wait(), numbers(2))) == 2


def test_a_lane_has_its_part_of_the_cores_and_the_caller_one_until_it_leaves(threads):
    with Lanes(2, 4) as lanes:
        own = [int(result) for result in lanes.map(lambda _: torch.tensor([torch.get_num_threads()]), numbers(4))]
        assert torch.get_num_threads() == 1
    assert own == [2] * 4
    assert torch.get_num_threads() == threads


def test_there_are_no_more_lanes_than_threads():
    with Lanes(8, 1) as lanes:
        assert lanes.count == 1


def test_few_items_are_taken_ahead_of_what_was_given_out():
    taken = []

    def items():
        for item in numbers(100):
            taken.append(item)
            yield item

    with Lanes(2, 2) as lanes:
        given = lanes.map(lambda item: item, items())
        next(given)
        assert len(taken) == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_result_stays_what_it_is_until_the_next_is_asked_for(count):
    with Lanes(count, count) as lanes:
        for number, result in enumerate(lanes.map(lambda item: item.expand(2 + int(item) % 3), numbers(40))):
            time.sleep(0.001)
            assert result.tolist() == [number] * (2 + number % 3)


def test_an_error_in_a_lane_is_raised_and_leaves_no_thread():
    with pytest.raises(ZeroDivisionError), Lanes(2, 2) as lanes:
        list(lanes.map(lambda item: torch.tensor([1 // (3 - int(item))]), numbers(20)))
    assert not lanes_alive()


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100])
def test_every_piece_is_in_exactly_one_part(threads, count):
    pieces = []
    divided(lambda first, stop: pieces.extend(range(first, stop)), count, 4)
    assert sorted(pieces) == list(range(count))


def test_a_part_has_one_core_and_keeps_the_callers_inference_mode(threads):
    seen = []
    with torch.inference_mode():
        divided(lambda *_: seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled())), 3, 1)
    assert seen == [(1, True)] * 3


def test_small_counts_are_not_divided(threads):
    parts = []
    divided(lambda *part: parts.append(part), 11, 4)
    assert parts == [(0, 11)]


def test_lanes_do_not_wait_for_one_anothers_crews():
    """Each part waits for all parts of both lanes: they meet only if all of them are computed at once."""
    meeting = threading.Barrier(4, timeout=60)

    def work(item):
        divided(lambda *_: meeting.wait(), 2, 1)
        return item

    with Lanes(2, 4) as lanes:
        assert [float(result) for result in lanes.map(work, numbers(2))] == [0, 1]
