"""Runs whose stems take long to store, and a database that goes away meanwhile: nothing is lost, no place given up."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection

from memory.models import Reservation
from separation import states
from separation.models import JobState, SeparationJob
from separation.services import delete_job, reap, supervision
from separation.services.reaping import sweep_staging
from separation.services.running import JobRunner

from .conftest import STUB, MakeJob, in_background, staged, stored, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed at every beat, so that tests see it soon though a lease lasts for long."""
    monkeypatch.setattr(supervision, "HEARTBEAT_SECONDS", 0.0)


def wait_for_renewals(count: int, lease: Callable[[], object]) -> None:
    for _ in range(count):
        before = lease()
        wait_for(lambda before=before: lease() != before)


def place() -> object:
    """Until when the only reservation there is counts."""
    return Reservation.objects.values_list("expires_at", flat=True).get()


@pytest.mark.usefixtures("quick_heart")
def test_leases_are_renewed_while_a_slow_storage_takes_the_stems(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, save = make_job(stems=["bass"]), default_storage.save

    def slow(name: str, content: Any, **more: Any) -> str:
        wait_for_renewals(2, lambda: SeparationJob.objects.values_list("lease_expires_at", flat=True).get())
        wait_for_renewals(1, place)
        return save(name, content, **more)

    monkeypatch.setattr(default_storage, "save", slow)
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.attempt_number) == (JobState.SUCCEEDED, 1)


def test_a_job_whose_stems_are_being_stored_is_seen_to_hold_nothing(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, save = make_job("pause 1", stems=["bass"]), default_storage.save

    def holds_nothing() -> bool:
        job.refresh_from_db()
        held = Reservation.objects.get(key=str(job.pk))
        return (held.observed_bytes, job.current_bytes) == (0, 0) and held.peak_bytes > 0

    def slow(name, content, **more):  # type: ignore[no-untyped-def]
        wait_for(holds_nothing)
        return save(name, content, **more)

    monkeypatch.setattr(default_storage, "save", slow)
    runner.run_all()
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


@pytest.mark.usefixtures("quick_heart")
def test_a_worker_that_still_stores_the_stems_of_a_deleted_job_keeps_its_place(
    make_job: MakeJob, runner: JobRunner, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_CONCURRENT_OPERATIONS = 1
    job, save, storing, let_go = make_job(stems=["bass"]), default_storage.save, Event(), Event()

    def slow(name: str, content: Any, **more: Any) -> str:
        if name.startswith("stems/"):  # the second job's track is not held up
            storing.set()
            let_go.wait(60)
        return save(name, content, **more)

    monkeypatch.setattr(default_storage, "save", slow)
    thread = in_background(runner.run_all)
    assert storing.wait(60)
    following = make_job()
    delete_job(job)
    wait_for_renewals(3, place)  # the first may be of a beat that did not know yet
    second = JobRunner(engine=STUB).claim()
    let_go.set()
    thread.join(timeout=60)
    following.refresh_from_db()
    assert (second, following.state) == (None, JobState.SUCCEEDED)  # there was no room for it until then
    assert not SeparationJob.objects.filter(pk=job.pk).exists()


def test_a_database_that_was_restarted_while_stems_were_stored_is_asked_anew(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, save = make_job(stems=["bass"]), default_storage.save

    def restarted(name: str, content: Any, **more: Any) -> str:
        connection.health_check_enabled = connection.health_check_done = True  # as it is for PostgreSQL
        monkeypatch.setattr(connection, "is_usable", lambda: False)
        connection.connection.close()
        return save(name, content, **more)

    monkeypatch.setattr(default_storage, "save", restarted)
    runner.run_all()
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_a_database_that_fails_at_the_last_step_loses_neither_job_nor_files(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("connection lost")

    with monkeypatch.context() as broken, pytest.raises(OperationalError):
        broken.setattr(states, "succeed", fail)
        runner.run_all()
    assert len(stored()) == 4
    SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
    reap()
    sweep_staging()
    assert (stored(), staged()) == ([], [])
    runner.run_all()
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED and len(stored()) == 4
