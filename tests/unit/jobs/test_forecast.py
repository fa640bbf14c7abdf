"""When waiting jobs will start, by what others are expected to take."""

from datetime import UTC, datetime, timedelta

from memory.queueing import Candidate
from separation.services.forecast import starts

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def waiting(*owners: str, **priority: int) -> list[Candidate]:
    """A job of each owner, in this order, called a, b, c, …"""
    return [
        Candidate(key, 0, owner, priority.get(key, 0), waiting_since=BEGINNING + timedelta(seconds=number))
        for number, (key, owner) in enumerate(zip("abcdef", owners, strict=False))
    ]


def each(seconds: float) -> dict[str, float]:
    return dict.fromkeys("abcdef", seconds)


def test_one_follows_another_where_there_is_one_place() -> None:
    assert starts(waiting("ada", "ada", "ada"), each(60), [(15, "ada")]) == {"a": 15, "b": 75, "c": 135}


def test_the_place_that_is_free_first_is_taken_first() -> None:
    assert starts(waiting("ada", "ada", "ada"), each(60), [(50, "ada"), (10, "ada")]) == {"a": 10, "b": 50, "c": 70}


def test_who_has_nothing_running_goes_first() -> None:
    found = starts(waiting("ada", "ada", "bob"), each(60), [(10, "ada"), (20, "ada")])
    assert found == {"c": 10, "a": 20, "b": 70}


def test_a_higher_priority_goes_first() -> None:
    assert [*starts(waiting("ada", "ada", "ada", c=1), each(60), [(10, "ada")])] == ["c", "a", "b"]


def test_with_nothing_running_the_first_starts_at_once() -> None:
    assert starts(waiting("ada", "ada"), each(60), []) == {"a": 0, "b": 60}


def test_an_empty_queue_has_no_starts() -> None:
    assert starts([], {}, [(10, "ada")]) == {}
