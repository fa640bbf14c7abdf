"""What a worker, a cluster or a message that is lost leaves behind is put right, once."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ

from memory.models import Reservation
from separation import states, tasks
from separation.models import JobState, SeparationJob, Stem, WorkerCluster
from separation.services import publishing, reap, staging
from separation.services.housekeeping import database_time
from separation.services.reaping import sweep_staging, wake_if_needed
from separation.services.retention import ORPHAN_AGE, clean_up
from separation.services.running import Claimed, JobRunner
from separation.states import Fence

from .conftest import MakeJob, staged, stored

pytestmark = pytest.mark.django_db(transaction=True)


def die_after_claiming(runner: JobRunner) -> Claimed:
    """What is left when a worker is killed right after its claim and its lease has run out."""
    claimed = runner.claim()
    assert claimed is not None
    SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
    Reservation.objects.update(expires_at=states.from_now(-1))
    return claimed


def test_the_job_of_a_lost_worker_waits_again_and_its_reservation_is_free(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    die_after_claiming(runner)
    report = reap()
    assert (report.jobs, report.reservations) == (1, 1)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED
    assert (job.attempts.get().outcome, job.attempts.get().reason) == ("requeued", "lost_worker")
    assert reap().jobs == 0


def test_a_lease_of_a_clock_that_was_put_back_is_none(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    die_after_claiming(runner)
    days_ahead = states.from_now(20 * 24 * 3600)
    SeparationJob.objects.update(lease_expires_at=days_ahead)
    Reservation.objects.update(expires_at=days_ahead)
    report = reap()
    assert (report.jobs, report.reservations) == (1, 1)


def test_a_job_that_loses_its_worker_too_often_fails(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.JOB_MAX_ATTEMPTS = 2
    job = make_job()
    for _ in range(2):
        die_after_claiming(runner)
        reap()
    job.refresh_from_db()
    assert (job.state, job.reason, job.attempts.count()) == (JobState.FAILED, "lost_worker", 2)


def test_a_worker_that_renews_its_lease_is_left_alone(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    claimed = runner.claim()
    assert claimed is not None
    assert reap().jobs == 0
    assert SeparationJob.objects.get().state == JobState.RUNNING


@pytest.mark.parametrize("files", [0, 1, 4])
def test_a_worker_killed_while_publishing_leaves_no_file(files: int, make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    claimed = die_after_claiming(runner)
    folder = staging.folder_of(claimed.fence)
    folder.mkdir(parents=True)
    (folder / "vocals.wav").write_text("half")
    for name in ("vocals", "drums", "bass", "other")[:files]:
        default_storage.save(f"stems/{job.pk}/1-{name}.wav", ContentFile(b"stray"))
    reap()
    sweep_staging()
    assert (stored(), staged()) == ([], [])
    assert runner.run_all() == 1
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert stored() == [f"stems/{job.pk}/2-{name}.wav" for name in ("bass", "drums", "other", "vocals")]


def test_a_worker_killed_right_after_finishing_leaves_the_finished_job(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    folder = staging.folder_of(Fence(job.pk, 1))
    folder.mkdir(parents=True)
    kept = stored()
    assert sweep_staging() == 1
    assert (stored(), staged()) == (kept, [])
    assert len(kept) == 4


def test_the_folder_of_a_running_attempt_is_left_alone(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    claimed = runner.claim()
    assert claimed is not None
    staging.folder_of(claimed.fence).mkdir(parents=True)
    assert sweep_staging() == 0


def test_another_hosts_folders_are_left_alone(tmp_path: Path, settings) -> None:  # type: ignore[no-untyped-def]
    other = Path(settings.STAGING_DIR) / "jobs" / "elsewhere" / "0" / "1"
    other.mkdir(parents=True)
    sweep_staging()
    assert other.exists()


def test_a_publisher_that_has_lost_its_job_takes_its_files_back(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    store = publishing._store

    def store_and_lose(*arguments):  # type: ignore[no-untyped-def]
        SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
        states.lost(Fence(job.pk, 1), again=True)
        return store(*arguments)

    monkeypatch.setattr(publishing, "_store", store_and_lose)
    claimed = runner.claim()
    assert claimed is not None
    runner.run(claimed)
    job.refresh_from_db()
    assert (job.state, stored(), Stem.objects.count(), staged()) == (JobState.QUEUED, [], 0, [])


def test_a_publisher_that_is_ended_right_after_its_commit_leaves_the_files(
    make_job: MakeJob, runner: JobRunner
) -> None:
    job = make_job()

    def end() -> None:
        raise SystemExit

    def changed(state: str, **_: object) -> None:
        if state == JobState.SUCCEEDED:
            transaction.on_commit(end)

    states.job_changed.connect(changed)
    try:
        with pytest.raises(SystemExit):
            runner.run_all()
    finally:
        states.job_changed.disconnect(changed)
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert len(stored()) == 4 and stored() == sorted(Stem.objects.values_list("file", flat=True))


@pytest.mark.parametrize(("error", "reason"), [(28, "disk_full"), (5, "storage_failed")])
def test_a_storage_that_fails_half_way_fails_the_job_and_keeps_no_file(
    error: int, reason: str, make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    save, calls = default_storage.save, []

    def fail_at_the_third(name, content, **more):  # type: ignore[no-untyped-def]
        calls.append(name)
        if len(calls) == 3:
            raise OSError(error, "no")
        return save(name, content, **more)

    monkeypatch.setattr(default_storage, "save", fail_at_the_third)
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason, stored(), staged()) == (JobState.FAILED, reason, [], [])


def test_jobs_that_wait_without_a_message_are_woken_once(make_job: MakeJob) -> None:
    make_job()
    OrmQ.objects.all().delete()
    assert [wake_if_needed() for _ in range(3)] == [True, False, False]
    assert OrmQ.objects.count() == 1


def test_no_message_is_sent_when_nothing_waits() -> None:
    assert wake_if_needed() is False
    assert not OrmQ.objects.exists()


def test_duplicate_wake_ups_are_harmless(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    assert [runner.run_all() for _ in range(3)] == [1, 0, 0]
    job.refresh_from_db()
    assert (job.state, job.attempts.count()) == (JobState.SUCCEEDED, 1)


def test_messages_taken_by_clusters_that_are_gone_are_forgotten() -> None:
    tasks.send_wake()
    OrmQ.objects.update(lock=timezone.now() + timezone.timedelta(days=6))
    tasks.send_wake()
    assert tasks.forget_taken() == 1
    assert OrmQ.objects.count() == 1


def test_the_databases_clock_is_the_one_that_its_rows_are_written_by() -> None:
    row = WorkerCluster.objects.create(host="here", pid=1, create_time=0.0)
    row.refresh_from_db()
    assert abs(database_time() - row.started_at.timestamp()) < 60


def test_folders_of_a_host_that_came_back_under_another_name_go_in_the_end(
    make_job: MakeJob, runner: JobRunner, settings: Any
) -> None:
    settings.HOST_NAME = "container-1"
    make_job()
    claimed = runner.claim()
    assert claimed is not None
    folder = staging.folder_of(claimed.fence)
    (folder / "out").mkdir(parents=True)
    SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
    Reservation.objects.update(expires_at=states.from_now(-1))
    settings.HOST_NAME = "container-2"
    reap()
    assert (sweep_staging(), clean_up().folders, folder.exists()) == (0, 0, True)
    long_ago = time.time() - 2 * ORPHAN_AGE.total_seconds()
    os.utime(folder, (long_ago, long_ago))
    assert (clean_up().folders, folder.exists()) == (1, False)
