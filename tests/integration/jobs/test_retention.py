"""What age deletes, and what it spares."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from separation import states
from separation.checks import RANGES
from separation.errors import ServiceError
from separation.models import JobState, SeparationJob, Stem, Track
from separation.services import create_track, retention, retry, submit
from separation.services.probing import Facts
from separation.services.retention import clean_up
from separation.services.running import JobRunner
from separation.services.submission import parse_options

from .conftest import MakeJob, MakeTrack, stored

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = timezone.now() - timedelta(days=40)


def let_two_days_pass() -> None:
    """For every file in storage."""
    then = time.time() - 2 * 86400
    for path in Path(settings.MEDIA_ROOT).rglob("*"):
        os.utime(path, (then, then))


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Storage that deletes nothing; calling it ends that."""

    def refuse(name: str) -> None:
        raise OSError(errno.EIO, "storage is away", name)

    with monkeypatch.context() as patch:
        patch.setattr(default_storage, "delete", refuse)
        yield patch.undo


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


def test_half_a_day_is_not_for_ever(make_track: MakeTrack, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_TRACKS = 0.5
    make_track()
    assert clean_up().tracks == 0
    Track.objects.update(created_at=timezone.now() - timedelta(hours=13))
    assert clean_up().tracks == 1


def test_the_longest_retention_that_may_be_set_keeps_all(make_track: MakeTrack, settings) -> None:  # type: ignore[no-untyped-def]
    for name in ("RETENTION_DAYS_TRACKS", "RETENTION_DAYS_STEMS"):
        setattr(settings, name, RANGES[name].most)
    make_track()
    Track.objects.update(created_at=LONG_AGO)
    assert clean_up().tracks == 0


def test_an_old_track_with_a_waiting_job_stays(make_job: MakeJob, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_TRACKS = 30
    make_job()
    Track.objects.update(created_at=LONG_AGO)
    assert clean_up().tracks == 0


def test_a_track_stays_when_it_is_asked_for_while_others_are_deleted(
    make_track: MakeTrack,
    ready_models: None,
    settings,  # type: ignore[no-untyped-def]
) -> None:
    settings.RETENTION_DAYS_TRACKS = 30
    first, second = make_track(), make_track()
    Track.objects.update(created_at=LONG_AGO)
    Track.objects.filter(pk=second.pk).update(created_at=LONG_AGO + timedelta(days=1))

    def ask(instance: Track, **_: object) -> None:
        if instance.pk == first.pk:
            submit(second.owner, second, parse_options({"model": "starter"}))

    post_delete.connect(ask, sender=Track)
    try:
        assert clean_up().tracks == 1
    finally:
        post_delete.disconnect(ask, sender=Track)
    assert SeparationJob.objects.get().track == second


def test_a_track_that_is_deleted_while_it_is_asked_for_is_said_to_be_gone(
    make_track: MakeTrack, ready_models: None
) -> None:
    track = make_track()
    Track.objects.filter(pk=track.pk).delete()
    with pytest.raises(ServiceError) as refusal:
        submit(track.owner, track, parse_options({"model": "starter"}))
    assert refusal.value.code == "file_missing"


def test_all_that_is_old_goes_however_much_it_is(
    make_job: MakeJob,
    runner: JobRunner,
    monkeypatch: pytest.MonkeyPatch,
    settings,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    make_job(), make_job()
    runner.run_all()
    SeparationJob.objects.update(finished_at=LONG_AGO)
    settings.RETENTION_DAYS_STEMS = 30
    assert clean_up().stems == 8
    Track.objects.update(created_at=LONG_AGO)
    settings.RETENTION_DAYS_TRACKS = 30
    assert clean_up().tracks == 2


def test_old_stems_go_and_their_job_stays_in_the_history(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.RETENTION_DAYS_STEMS = 30
    make_job()
    runner.run_all()
    SeparationJob.objects.update(finished_at=LONG_AGO)
    assert clean_up().stems == 4
    assert (SeparationJob.objects.count(), Stem.objects.count(), stored()) == (1, 0, [])


def test_files_that_no_row_knows_go_when_they_are_a_day_old(make_track: MakeTrack) -> None:
    track = make_track()
    for name in ("tracks/00000000-0000-0000-0000-000000000001/original", "stems/not-ours/x.wav"):
        default_storage.save(name, ContentFile(b"x"))
    let_two_days_pass()
    default_storage.save("tracks/00000000-0000-0000-0000-000000000002/original", ContentFile(b"new"))
    assert clean_up().orphans == 1
    assert set(stored("")) == {
        "stems/not-ours/x.wav",
        "tracks/00000000-0000-0000-0000-000000000002/original",
        track.file.name,
    }


def test_a_file_whose_row_the_database_failed_to_insert_goes_a_day_later(user: User, uploads: Path) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    path = uploads / "a.wav"
    path.write_bytes(b"music")
    post_save.connect(fail, sender=Track)
    try:
        with pytest.raises(OperationalError):
            create_track(user, path, "a.wav", probe=lambda *_: Facts(1.0, 44100, 2))
    finally:
        post_save.disconnect(fail, sender=Track)
    assert (clean_up().orphans, len(stored("tracks"))) == (0, 1)
    let_two_days_pass()
    assert (clean_up().orphans, stored("tracks")) == (1, [])


def test_stems_that_a_failed_attempt_could_not_take_back_go_a_day_later(
    make_job: MakeJob,
    runner: JobRunner,
    read_only: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, save = make_job(), default_storage.save

    def fail_at_the_third(name: str, content: File) -> str:
        if len(stored()) == 2:
            raise OSError(errno.EIO, "storage is away", name)
        return save(name, content)

    with monkeypatch.context() as patch:
        patch.setattr(default_storage, "save", fail_at_the_third)
        runner.run_all()
    read_only()
    job.refresh_from_db()
    assert (job.reason, len(stored()), clean_up().orphans) == ("storage_failed", 2, 0)
    let_two_days_pass()
    assert (clean_up().orphans, stored()) == (2, [])


def test_what_a_failed_attempt_left_goes_from_beside_the_stems_of_a_later_one(
    make_job: MakeJob, runner: JobRunner
) -> None:
    job = make_job("exit 1")
    runner.run_all()
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    default_storage.save(f"stems/{job.pk}/1-bass.wav", ContentFile(b"stray"))
    default_storage.delete(job.track.file.name)
    default_storage.save(job.track.file.name, ContentFile(b""))
    retry(job)
    runner.run_all()
    let_two_days_pass()
    assert clean_up().orphans == 1
    assert stored() == sorted(Stem.objects.values_list("file", flat=True))
    assert len(stored()) == 4


def test_old_stems_whose_files_could_not_be_deleted_go_a_pass_later(
    make_job: MakeJob,
    runner: JobRunner,
    read_only: Callable[[], None],
    settings,  # type: ignore[no-untyped-def]
) -> None:
    settings.RETENTION_DAYS_STEMS = 30
    make_job()
    runner.run_all()
    SeparationJob.objects.update(finished_at=LONG_AGO)
    let_two_days_pass()
    clean_up()
    assert (Stem.objects.count(), len(stored())) == (0, 4)
    read_only()
    assert (clean_up().orphans, stored()) == (4, [])


def test_files_of_a_job_that_runs_stay_however_old(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    claimed = runner.claim()
    assert claimed is not None
    default_storage.save(f"stems/{claimed.job.pk}/1-bass.wav", ContentFile(b"no row yet"))
    let_two_days_pass()
    assert clean_up().orphans == 0
    states.fail(claimed.fence, reason="engine_crashed")
    assert clean_up().orphans == 1
