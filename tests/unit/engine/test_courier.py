"""The writing thread: in order, bounded, its errors told, and never at work once it has been left."""

import threading
import time

import numpy as np
import pytest

from separation.engine.outputs import Courier


def writers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


@pytest.mark.parametrize("depth", [0, 2])
def test_work_is_done_in_order_before_the_courier_is_left(depth):
    done = []
    with Courier(depth) as courier:
        for number in range(10):
            courier.send(lambda number=number: done.append(number))
    assert done == list(range(10))
    assert not writers()


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("kind", [OSError, MemoryError])
def test_an_error_of_the_work_comes_back_while_more_is_sent(depth, kind):
    def fail():
        raise kind("full")

    with pytest.raises(kind, match="full"), Courier(depth) as courier:
        for _ in range(10):
            courier.send(fail)
    assert not writers()


def test_after_an_error_nothing_that_waited_is_begun_and_nothing_is_at_work():
    done, begun = [], threading.Event()

    def slow():
        begun.set()
        while not courier.dropped:
            time.sleep(0.001)
        done.append("slow")

    with pytest.raises(RuntimeError), Courier(2) as courier:
        courier.send(slow)
        courier.send(lambda: done.append("waiting"))
        assert begun.wait(10)
        raise RuntimeError
    assert done == ["slow"]
    assert not writers()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_copy_is_not_overwritten_before_its_work_is_done(depth):
    seen = []
    with Courier(depth) as courier:
        for number in range(12):
            copy = courier.copied(np.full((3 + number % 2, 2), number, np.float32))

            def check(copy=copy, number=number):
                time.sleep(0.002)
                seen.append(bool((copy == number).all()))

            courier.send(check)
    assert seen == [True] * 12
