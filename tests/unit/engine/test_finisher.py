"""Several outputs finished at a time: all described, or one error and the others stopped."""

import threading

import pytest

from separation.engine.errors import EngineError
from separation.engine.outputs import Finisher
from separation.errors import ReasonCode


class Output:
    """Says that it has encoded `windows` windows of 10 frames, and then fails if told to."""

    def __init__(self, name, windows=3, error=None, before=lambda: None):
        self.name, self.windows, self.error, self.before = name, windows, error, before
        self.encoded = 0

    def finish(self, on_frames):
        self.before()
        for _ in range(self.windows):
            on_frames(10)
            self.encoded += 1
        if self.error:
            raise self.error
        return {"stem": self.name}


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_outputs_are_described_in_their_order_and_all_frames_are_heard_of(threads):
    heard = []
    outputs = [Output(name) for name in "abcd"]
    assert Finisher(threads, heard.append).finish(outputs) == [{"stem": name} for name in "abcd"]
    assert sum(heard) == 120


def test_two_outputs_are_finished_at_the_same_time():
    meeting = threading.Barrier(2, timeout=60)
    Finisher(2, lambda _: None).finish([Output(name, before=meeting.wait) for name in "ab"])
    assert not meeting.broken


@pytest.mark.parametrize("error", [OSError("full"), EngineError(ReasonCode.ENCODER_FAILED)])
def test_the_first_error_is_raised_and_what_has_not_begun_does_not(error):
    waiting = Output("waiting")
    with pytest.raises(type(error)) as raised:
        Finisher(1, lambda _: None).finish([Output("fails", error=error), waiting])
    assert raised.value is error
    assert waiting.encoded == 0


def test_after_an_error_another_output_stops_at_its_next_window():
    failed = threading.Event()

    class Failing(Output):
        def finish(self, on_frames):
            failed.set()
            raise OSError("full")

    long = Output("long", windows=10**9, before=lambda: failed.wait(10))
    with pytest.raises(OSError, match="full"):
        Finisher(2, lambda _: None).finish([Failing("fails"), long])
    assert long.encoded < 10**9
