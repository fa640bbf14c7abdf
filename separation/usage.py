"""What a person uses of what they may use. Owns the figures of the account page; the limits are the services'."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Sum

from separation import ledger
from separation.models import JobState, SeparationJob, Stem, Track
from separation.services.numbers import number


@dataclass(frozen=True)
class Usage:
    """Bytes kept, minutes of music submitted in the last day, jobs waiting. A limit of 0 means none."""

    stored_bytes: int
    stored_limit: int
    minutes_today: float
    minutes_limit: float
    waiting: int
    waiting_limit: int


def stored_bytes(user: User) -> int:
    """Bytes of the user's originals and stems."""
    tracks = Track.objects.filter(owner=user).aggregate(n=Sum("size", default=0))["n"]
    stems = Stem.objects.filter(job__owner=user).aggregate(n=Sum("size", default=0))["n"]
    return int(tracks + stems)


def usage_of(user: User) -> Usage:
    """The figures as the services count them when they refuse."""
    jobs = SeparationJob.objects.filter(owner=user)
    return Usage(
        stored_bytes=stored_bytes(user),
        stored_limit=int(settings.QUOTA_BYTES_PER_USER),
        minutes_today=ledger.minutes_today(user),
        minutes_limit=number("QUOTA_MINUTES_PER_DAY"),
        waiting=jobs.filter(state=JobState.QUEUED).count(),
        waiting_limit=int(settings.QUOTA_QUEUED_JOBS),
    )
