"""A storage that is no folder of this machine: the input is fetched, the stems are sent, nothing else differs."""

from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from separation.models import JobState
from separation.services import delete_job
from separation.services.running import JobRunner

from .conftest import MakeJob, staged

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def remote(settings) -> None:  # type: ignore[no-untyped-def]
    memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = {**settings.STORAGES, "default": memory}


def names(folder: str) -> list[str]:
    return sorted(default_storage.listdir(folder)[1]) if default_storage.exists(folder) else []


def test_a_job_runs_between_fetching_and_sending(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("big 100000")
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert names(f"stems/{job.pk}") == ["1-bass.wav", "1-drums.wav", "1-other.wav", "1-vocals.wav"]
    assert job.stems.get(name="bass").file.size == 100_000
    assert staged() == []


def test_an_input_that_is_gone_fails_the_job_with_that_reason(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    default_storage.delete(job.track.file.name)
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason, staged()) == (JobState.FAILED, "file_missing", [])


def test_deleting_a_job_removes_its_files_there(make_job: MakeJob, runner: JobRunner, tmp_path: Path) -> None:
    job = make_job()
    runner.run_all()
    pk = job.pk
    delete_job(job)
    assert names(f"stems/{pk}") == []
