"""What is committed for good, and what only in order."""

import pytest
from django.db import connection, transaction

from separation.services.durability import durable

NORMAL, FULL = 1, 2


def synchronous() -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture(autouse=True)
def as_in_production(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = NORMAL")


def test_a_durable_commit_is_synced_and_the_next_one_is_as_before() -> None:
    with durable():
        assert synchronous() == FULL
    assert synchronous() == NORMAL


def test_one_that_fails_leaves_the_connection_as_it_was() -> None:
    with pytest.raises(ValueError, match="no"), durable():
        raise ValueError("no")
    assert (synchronous(), connection.in_atomic_block) == (NORMAL, False)


def test_inside_another_transaction_it_is_part_of_that_one() -> None:
    with transaction.atomic(), durable():
        assert synchronous() == NORMAL
