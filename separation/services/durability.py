"""Commits that a power cut cannot take back.

SQLite runs with synchronous=NORMAL here: after a power cut each transaction is whole or absent, but the last few may be
absent. That is enough for progress, heartbeats and an upload's offset (its bytes are on the disk before, and a
client that finds an older offset sends them again). It is not enough where somebody lets go of something on our
word: the file of a finished upload, a job that was accepted. PostgreSQL syncs every commit by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def durable() -> Iterator[None]:
    """A transaction; when it is left, its rows and all that was committed before are on the disk.

    Inside another transaction it is only part of that one, which says itself how durable it is.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    with connection.cursor() as cursor:
        usual = cursor.execute("PRAGMA synchronous").fetchone()[0]
        cursor.execute("PRAGMA synchronous = FULL")
        try:
            with transaction.atomic():
                yield
        finally:
            cursor.execute(f"PRAGMA synchronous = {usual}")
