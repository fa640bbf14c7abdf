"""What is deleted by age, and files that no row knows.

Owns the rules of RETENTION_DAYS_TRACKS and RETENTION_DAYS_STEMS (0: kept until somebody deletes them) and the
sweep for files whose row was never written because a machine went down in between, or whose storage failed when they
were to be removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.files.storage import Storage
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from separation import tasks
from separation.models import FINISHED, JobState, SeparationJob, Stem, Track
from separation.services import storing
from separation.services.numbers import number
from separation.services.reaping import sweep_forsaken

logger = logging.getLogger(__name__)
BATCH = 200
ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True)
class CleanupReport:
    """How many of each were deleted."""

    tracks: int = 0
    stems: int = 0
    orphans: int = 0
    folders: int = 0
    messages: int = 0


def clean_up() -> CleanupReport:
    """One pass over everything that age or accident has made superfluous."""
    return CleanupReport(
        tracks=delete_old_tracks(),
        stems=delete_old_stems(),
        orphans=sum(1 for _ in remove_orphans()),
        folders=sweep_forsaken(ORPHAN_AGE),
        messages=tasks.forget_taken(),
    )


def delete_old_tracks() -> int:
    """Tracks past their time, with their jobs; not while one of those waits or runs."""
    days = number("RETENTION_DAYS_TRACKS")
    if not days:
        return 0
    old = Track.objects.filter(created_at__lt=Now() - timedelta(days=days))
    busy = SeparationJob.objects.exclude(state__in=FINISHED).values("track_id")
    idle = old.exclude(pk__in=busy).order_by("created_at")
    return _each(idle, _delete_if_idle)


def _each(rows: QuerySet[Track] | QuerySet[SeparationJob], delete: Callable[[UUID], int]) -> int:
    """`delete` of each row by its key, a batch at a time, until nothing more is there or can go. Returns the sum."""
    deleted = 0
    while keys := list(rows.values_list("pk", flat=True)[:BATCH]):
        gone = sum(map(delete, keys))
        deleted += gone
        if len(keys) < BATCH or not gone:
            break
    return deleted


def _delete_if_idle(key: UUID) -> bool:
    """Track and jobs are locked first: who asks for a job meanwhile either keeps the track or finds it gone."""
    with transaction.atomic():
        track = Track.objects.select_for_update().filter(pk=key).first()
        states = SeparationJob.objects.select_for_update().filter(track=key).values_list("state", flat=True)
        if track is None or not set(FINISHED).issuperset(states):
            return False
        track.delete()
        return True


def delete_old_stems() -> int:
    """Stems of jobs that finished long ago, a job's all at once; the job stays in the history, without them."""
    days = number("RETENTION_DAYS_STEMS")
    if not days:
        return 0
    old = SeparationJob.objects.filter(state=JobState.SUCCEEDED, finished_at__lt=Now() - timedelta(days=days))
    kept = old.filter(Exists(Stem.objects.filter(job=OuterRef("pk")))).order_by("finished_at")
    return _each(kept, lambda job: Stem.objects.filter(job=job).delete()[0])


def remove_orphans() -> Iterator[str]:
    """Delete, and name, files that no row of their track or job knows, once they are a day old."""
    yield from _orphans("tracks", Track.objects.all(), "pk", _gone_tracks)
    yield from _orphans("stems", Stem.objects.all(), "job", _untidy_jobs)


def _orphans(
    parent: str, rows: QuerySet[Track] | QuerySet[Stem], key: str, suspects: Callable[[list[UUID]], set[UUID]]
) -> Iterator[str]:
    """Files in the folders of suspects. Files are listed before rows, which are written after their files."""
    storage = rows.model._meta.get_field("file").storage
    for names in _batches(_folders(storage, parent)):
        for suspect in sorted(suspects(names)):
            old = _old_files(storage, f"{parent}/{suspect}")
            known = set(rows.filter(**{key: suspect}).values_list("file", flat=True))
            for name in (name for name in old if name not in known):
                logger.warning("removing %s: no row knows it", name)
                storing.remove(storage, [name])
                yield name


def _gone_tracks(keys: list[UUID]) -> set[UUID]:
    return set(keys).difference(Track.objects.filter(pk__in=keys).values_list("pk", flat=True))


def _untidy_jobs(keys: list[UUID]) -> set[UUID]:
    """Jobs that are gone, and those that may have left more than their stems: files of an attempt that failed, or
    of stems that were deleted, could not be removed then. Not while one runs: its files come before their rows."""
    jobs = SeparationJob.objects.filter(pk__in=keys)
    tidy = jobs.filter(Q(state=JobState.RUNNING) | Q(attempt_number=1, stems__isnull=False))
    return set(keys).difference(tidy.values_list("pk", flat=True))


def _folders(storage: Storage, parent: str) -> Iterator[UUID]:
    try:
        folders, _ = storage.listdir(parent)
    except FileNotFoundError:
        return
    for folder in folders:
        try:
            yield UUID(folder)
        except ValueError:
            continue


def _old_files(storage: Storage, folder: str) -> list[str]:
    limit = timezone.now() - ORPHAN_AGE
    try:
        names = [f"{folder}/{name}" for name in storage.listdir(folder)[1]]
        return [name for name in names if storage.get_modified_time(name) < limit]
    except FileNotFoundError:  # somebody deletes it at this moment
        return []


def _batches(keys: Iterator[UUID]) -> Iterator[list[UUID]]:
    batch: list[UUID] = []
    for key in keys:
        batch.append(key)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
