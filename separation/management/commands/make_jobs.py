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
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from separation.errors import ReasonCode
from separation.models import JobState, SeparationJob, Track
from separation.services.submission import parse_options

BATCH = 5000
GIB = 1024**3
SPAN = timedelta(days=365)
USERNAME = "bulk"


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
        track = Track.objects.create(owner=owner, original_name="Made in bulk.wav", size=0, sha256="")
        for batch in batches(owner.pk, track, options["count"], timezone.now()):
            SeparationJob.objects.bulk_create(batch, batch_size=500)
        self.stdout.write(f"{options['count']} jobs made")


def batches(owner_id: int, track: Track, count: int, now: datetime) -> Iterator[list[SeparationJob]]:
    """`count` jobs, spread evenly over the past year, in lists of at most BATCH."""
    dice, asked = random.Random(0), parse_options({}).as_dict()
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        yield [made_job(owner_id, track, asked, now - SPAN * (n + 1) / count, dice) for n in numbers]


def made_job(
    owner_id: int, track: Track, asked: dict[str, Any], created: datetime, dice: random.Random
) -> SeparationJob:
    """One job as it is left when it has ended: one in ten failed, one in twenty cancelled."""
    lot = dice.random()
    state = JobState.FAILED if lot < 0.1 else JobState.CANCELLED if lot < 0.15 else JobState.SUCCEEDED
    reason = {JobState.FAILED: ReasonCode.MEMORY_LIMIT, JobState.CANCELLED: ReasonCode.CANCELLED}.get(state, "")
    return SeparationJob(
        id=uuid.UUID(int=dice.getrandbits(128), version=4),
        owner_id=owner_id,
        track=track,
        model=asked["model"],
        options=asked,
        state=state,
        reason=reason,
        progress=1.0 if state == JobState.SUCCEEDED else 0.4,
        attempt_number=1,
        estimate_bytes=GIB,
        peak_bytes=int(GIB * dice.uniform(0.7, 1.0)),
        limit_bytes=4 * GIB,
        created_at=created,
        queued_at=created,
        started_at=created + timedelta(seconds=2),
        finished_at=created + timedelta(seconds=60),
    )
