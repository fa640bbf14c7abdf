"""The reading thread: in order, bounded, any of its errors told, and gone once it is closed."""

import threading

import numpy as np
import pytest

from separation.engine.decode import ReadAhead


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("decoder")]


def blocks(count, error=None, taken=None):
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield np.full((2, 2), number, np.float32)
    if error is not None:
        raise error


def test_blocks_come_in_order():
    ahead = ReadAhead(blocks(10), 2)
    assert [block[0, 0] for block in ahead] == list(range(10))
    ahead.close()
    assert not readers()


@pytest.mark.parametrize("error", [OSError("gone"), MemoryError("none left")])
def test_any_error_ends_the_iteration_after_what_was_read(error):
    ahead = ReadAhead(blocks(3, error), 1)
    read = []
    with pytest.raises(type(error)):
        read.extend(block[0, 0] for block in ahead)
    ahead.close()
    assert not readers()


def test_closing_ends_a_thread_that_waits_for_room():
    taken = []
    ahead = ReadAhead(blocks(1000, taken=taken), 2)
    assert next(iter(ahead))[0, 0] == 0
    ahead.close()
    assert not readers()
    assert len(taken) < 10
