"""What age deletes, and what it spares."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from separation.models import SeparationJob, Stem, Track
from separation.services.retention import clean_up
from separation.services.running import JobRunner

from .conftest import MakeJob, MakeTrack, stored

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = timezone.now() - timedelta(days=40)


def test_nothing_is_deleted_unless_a_retention_is_set(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    runner.run_all()
    Track.objects.update(created_at=LONG_AGO)
    SeparationJob.objects.update(finished_at=LONG_AGO)
    report = clean_up()
    assert (report.tracks, report.stems, report.orphans) == (0, 0, 0)


def test_old_tracks_go_with_their_jobs_and_files(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_TRACKS = 30
    make_job()
    runner.run_all()
    Track.objects.update(created_at=LONG_AGO)
    assert clean_up().tracks == 1
    assert (Track.objects.count(), SeparationJob.objects.count(), stored("")) == (0, 0, [])


def test_an_old_track_with_a_waiting_job_stays(make_job: MakeJob, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_TRACKS = 30
    make_job()
    Track.objects.update(created_at=LONG_AGO)
    assert clean_up().tracks == 0


def test_old_stems_go_and_their_job_stays_in_the_history(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_STEMS = 30
    make_job()
    runner.run_all()
    SeparationJob.objects.update(finished_at=LONG_AGO)
    assert clean_up().stems == 4
    assert (SeparationJob.objects.count(), Stem.objects.count(), stored()) == (1, 0, [])


def test_files_that_no_row_knows_go_when_they_are_a_day_old(make_track: MakeTrack, settings) -> None:  # type: ignore[no-untyped-def]
    track = make_track()
    for name in ("tracks/00000000-0000-0000-0000-000000000001/original", "stems/not-ours/x.wav"):
        default_storage.save(name, ContentFile(b"x"))
    old = time.time() - 2 * 86400
    for path in Path(settings.MEDIA_ROOT).rglob("*"):
        os.utime(path, (old, old))
    default_storage.save("tracks/00000000-0000-0000-0000-000000000002/original", ContentFile(b"new"))
    assert clean_up().orphans == 1
    assert set(stored("")) == {
        "stems/not-ours/x.wav",
        "tracks/00000000-0000-0000-0000-000000000002/original",
        track.file.name,
    }
