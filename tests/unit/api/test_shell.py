"""Which exceptions of a view have an answer of their own."""

import pytest
from django.db import IntegrityError, OperationalError

from separation.api.shell import as_problem


class Deadlock(Exception):
    """What psycopg raises; Django's error has it as its cause."""

    sqlstate = "40P01"


def raised(text: str, cause: Exception | None = None) -> OperationalError:
    error = OperationalError(text)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [raised("database is locked"), raised("deadlock detected", Deadlock())])
def test_a_busy_database_is_told_as_that(error: OperationalError) -> None:
    problem = as_problem(error)
    assert problem is not None
    assert (problem.status, problem.code, problem.headers) == (503, "busy", {"Retry-After": "2"})


def test_a_database_that_is_gone_is_not_expected() -> None:
    assert as_problem(raised("unable to open database file")) is None


@pytest.mark.parametrize(
    ("text", "status"),
    [("FOREIGN KEY constraint failed", 409), ("UNIQUE constraint failed: a.b", 409), ("CHECK constraint failed: c", 0)],
)
def test_only_a_row_that_went_or_came_meanwhile_is_a_conflict(text: str, status: int) -> None:
    problem = as_problem(IntegrityError(text))
    assert (problem.status if problem else 0) == status
