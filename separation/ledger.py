"""What each person has asked for lately: one row a job, kept for a day whatever becomes of the job.

Owns the figures that the limits of a minute and of a day are measured by. Jobs can be deleted, these rows cannot, so
that deleting gives nothing back. Times are the database's.
"""

from datetime import timedelta

from django.contrib.auth.models import User
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now

from separation.models import Submission, Track

DAY = timedelta(days=1)


def note(owner: User, track: Track) -> None:
    """Puts a job on record; to be called in the transaction that inserts it."""
    Submission.objects.create(owner=owner, seconds=track.duration_seconds or 0)


def minutes_today(owner: User) -> float:
    """Minutes of music that the user's jobs of the last 24 hours were for."""
    return (_since(owner, DAY).aggregate(total=Sum("seconds"))["total"] or 0) / 60


def count_last_minute(owner: User) -> int:
    """How many jobs the user has asked for in the last minute."""
    return _since(owner, timedelta(minutes=1)).count()


def forget_old() -> int:
    """Deletes rows that no limit counts any more. Returns how many."""
    return Submission.objects.filter(at__lte=Now() - DAY).delete()[0]


def _since(owner: User, age: timedelta) -> QuerySet[Submission]:
    return Submission.objects.filter(owner=owner, at__gt=Now() - age)
