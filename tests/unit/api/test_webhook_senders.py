"""Whose webhook messages are sent when: nobody's wait for another owner's receiver."""

import threading

import pytest

from separation.webhooks.senders import Senders


class Outbox:
    """Owners with something due, how often each was served, and receivers that answer only when let."""

    def __init__(self, slow: set[int], **turns: int) -> None:
        self.left = {int(owner[1:]): count for owner, count in turns.items()}
        self.slow, self.let = slow, threading.Event()
        self.served: list[int] = []
        self.changed = threading.Condition()

    def waiting(self) -> list[int]:
        return [owner for owner, count in self.left.items() if count]

    def deliver(self, owner: int) -> None:
        with self.changed:
            self.served.append(owner)
            self.changed.notify_all()
        if owner in self.slow:
            assert self.let.wait(10)
        with self.changed:
            self.left[owner] -= 1
            self.changed.notify_all()

    def wait_until(self, served: list[int]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sorted(self.served) == served, timeout=10), self.served

    def wait_until_empty(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: not self.waiting(), timeout=10), self.left


def test_a_receiver_that_does_not_answer_holds_up_its_owner_only() -> None:
    outbox = Outbox({1}, _1=3, _2=2, _3=1)
    Senders(outbox.waiting, outbox.deliver, most=2).start()
    outbox.wait_until([1, 2, 2, 3])
    outbox.let.set()
    outbox.wait_until_empty()


def test_an_owner_has_one_thread_however_often_it_is_started() -> None:
    outbox = Outbox({1}, _1=3)
    senders = Senders(outbox.waiting, outbox.deliver)
    senders.start()
    outbox.wait_until([1])
    assert (senders.start(), outbox.served) == (0, [1])
    outbox.let.set()
    outbox.wait_until_empty()


def test_there_are_no_more_threads_than_allowed() -> None:
    outbox = Outbox({1, 2, 3}, _1=1, _2=1, _3=1)
    senders = Senders(outbox.waiting, outbox.deliver, most=2)
    assert (senders.start(), senders.start()) == (2, 0)
    outbox.let.set()
    outbox.wait_until_empty()


def test_owners_take_turns() -> None:
    outbox = Outbox(set(), _1=3, _2=3)
    Senders(outbox.waiting, outbox.deliver, most=1).start()
    outbox.wait_until_empty()
    assert outbox.served == [1, 2, 1, 2, 1, 2]


def test_all_is_delivered_when_a_run_ends() -> None:
    outbox = Outbox(set(), _1=3, _2=1)
    Senders(outbox.waiting, outbox.deliver).run()
    assert outbox.waiting() == []


def test_a_run_ends_with_what_a_turn_raised_and_the_next_one_goes_on() -> None:
    failures = iter([RuntimeError])

    def deliver(owner: int) -> None:
        for failure in failures:
            raise failure
        outbox.deliver(owner)

    outbox = Outbox(set(), _1=1)
    senders = Senders(outbox.waiting, deliver, most=1)
    with pytest.raises(RuntimeError):
        senders.run()
    senders.run()
    assert outbox.waiting() == []


def test_a_thread_that_cannot_be_started_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(set(), _1=1, _2=1)
    senders = Senders(outbox.waiting, outbox.deliver, most=2)
    with monkeypatch.context() as patch:
        patch.setattr(
            threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
        )
        for _ in range(3):
            with pytest.raises(OSError, match="thread"):
                senders.run()
    senders.run()
    assert sorted(outbox.served) == [1, 2]
