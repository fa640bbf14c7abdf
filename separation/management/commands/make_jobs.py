"""`manage.py make_jobs --count N`: finished jobs in bulk, to see how lists behave when history is long.

Owns nothing but the rows: no files, no engine. They belong to a user and a track of their own and go with
`--delete`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.db.models import Field
from django.utils import timezone

from separation.errors import ReasonCode
from separation.models import JobState, SeparationJob, Track
from separation.services.submission import parse_options

BATCH = 5000
GIB = 1024**3
SPAN = timedelta(days=365)
USERNAME = "bulk"
FIELDS = SeparationJob._meta.concrete_fields
BY_NAME = {field.attname: field for field in FIELDS}


class Command(BaseCommand):
    help = "Makes finished jobs in bulk, for measuring lists; --delete removes them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=1000)
        parser.add_argument("--user", default=USERNAME, help="who owns them; made if absent")
        parser.add_argument("--delete", action="store_true", help="delete that user's made jobs instead")

    def handle(self, *_: Any, **options: Any) -> None:
        owner, _created = get_user_model().objects.get_or_create(username=options["user"])
        made = SeparationJob.objects.filter(owner=owner, fingerprint="")
        if options["delete"]:
            deleted = made._raw_delete(made.db)  # they have nothing that would have to go with them
            self.stdout.write(f"{deleted} jobs deleted")
            return
        if options["count"] < 1:
            raise CommandError(f"--count is {options['count']}; it must be at least 1.")
        with transaction.atomic(), connection.cursor() as cursor:
            track = Track.objects.create(owner=owner, original_name="Made in bulk.wav", size=0, sha256="")
            for batch in rows(made_job(owner.pk, track), options["count"], timezone.now()):
                cursor.executemany(insertion(), batch)
        self.stdout.write(f"{options['count']} jobs made")


def made_job(owner_id: int, track: Track) -> SeparationJob:
    """What all of them have in common."""
    asked = parse_options({}).as_dict()
    return SeparationJob(
        owner_id=owner_id,
        track=track,
        model=asked["model"],
        options=asked,
        state=JobState.SUCCEEDED,
        progress=1.0,
        attempt_number=1,
        estimate_bytes=GIB,
        limit_bytes=4 * GIB,
    )


def insertion() -> str:
    """The statement that inserts one row; the ORM would take ten times as long."""
    names = [connection.ops.quote_name(str(field.column)) for field in FIELDS]
    table = connection.ops.quote_name(SeparationJob._meta.db_table)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"


def rows(common: SeparationJob, count: int, now: datetime) -> Iterator[list[tuple[Any, ...]]]:
    """`count` rows, spread evenly over the past year, in lists of at most BATCH."""
    dice = random.Random(str(common.track_id))
    template = {field.attname: _prepared(field, getattr(common, field.attname)) for field in FIELDS}
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        yield [tuple({**template, **_varied(now - SPAN * (n + 1) / count, dice)}.values()) for n in numbers]


def _varied(created: datetime, dice: random.Random) -> dict[str, Any]:
    """What differs, ready for the database: one in ten failed, one in twenty was cancelled."""
    lot = dice.random()
    state = JobState.FAILED if lot < 0.1 else JobState.CANCELLED if lot < 0.15 else JobState.SUCCEEDED
    reason = {JobState.FAILED: ReasonCode.MEMORY_LIMIT, JobState.CANCELLED: ReasonCode.CANCELLED}.get(state, "")
    values = {
        "id": uuid.UUID(int=dice.getrandbits(128), version=4),
        "state": str(state),
        "reason": str(reason),
        "peak_bytes": int(GIB * dice.uniform(0.7, 1.0)),
        "created_at": created,
        "queued_at": created,
        "started_at": created + timedelta(seconds=2),
        "finished_at": created + timedelta(seconds=60),
    }
    return {name: _prepared(BY_NAME[name], value) for name, value in values.items()}


def _prepared(field: Field, value: Any) -> Any:
    return field.get_db_prep_save(value, connection)
