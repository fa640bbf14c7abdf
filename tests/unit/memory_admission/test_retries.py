"""A busy database is tried again; anything else is not."""

import pytest
from django.db import OperationalError, connection, transaction

from memory.retries import ATTEMPTS, is_busy, retry_busy

pytestmark = pytest.mark.django_db(transaction=True)


class Flaky:
    """Fails `times` times."""

    def __init__(self, times: int, message: str = "database is locked") -> None:
        self.left, self.calls, self.message = times, 0, message

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise OperationalError(self.message)
        return "done"


def test_it_is_tried_again_until_it_works() -> None:
    assert retry_busy(Flaky(ATTEMPTS - 1), sleep=lambda _: None) == "done"


def test_the_attempts_are_bounded() -> None:
    flaky = Flaky(99)
    with pytest.raises(OperationalError):
        retry_busy(flaky, sleep=lambda _: None)
    assert flaky.calls == ATTEMPTS


def test_the_pauses_grow_and_are_not_all_alike() -> None:
    pauses: list[float] = []
    retry_busy(Flaky(4), sleep=pauses.append)
    assert pauses == sorted(set(pauses)) or pauses[0] < pauses[-1]
    assert len(set(pauses)) == 4


def test_another_error_is_not_tried_again() -> None:
    flaky = Flaky(1, "no such table: songs")
    with pytest.raises(OperationalError):
        retry_busy(flaky, sleep=lambda _: None)
    assert flaky.calls == 1


def test_inside_the_callers_transaction_it_runs_once() -> None:
    flaky = Flaky(1)
    with pytest.raises(OperationalError), transaction.atomic():
        retry_busy(flaky, sleep=lambda _: None)
    assert flaky.calls == 1
    assert not connection.in_atomic_block


@pytest.mark.parametrize(("state", "busy"), [("40001", True), ("40P01", True), ("55P03", True), ("53100", False)])
def test_postgresql_says_by_its_code_that_it_was_busy(state: str, busy: bool) -> None:
    cause = Exception()
    cause.sqlstate = state  # type: ignore[attr-defined]
    error = OperationalError("whatever it says")
    error.__cause__ = cause
    assert is_busy(error) is busy
