"""A musician who is logged in, someone else, and rows to show: no engine runs here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

from separation import catalog
from separation.models import Attempt, JobState, SeparationJob, Stem, Track
from separation.services.submission import parse_options

MakeTrack = Callable[..., Track]
MakeJob = Callable[..., SeparationJob]
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    settings.STAGING_DIR, settings.MEDIA_ROOT = tmp_path / "staging", tmp_path / "media"
    settings.FILE_UPLOAD_TEMP_DIR = settings.STAGING_DIR / "multipart"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


@pytest.fixture(autouse=True)
def _a_ready_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "is_ready", lambda name, model_dir: name == "starter")


@pytest.fixture
def musician(db: None) -> User:
    return User.objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("bob", password=PASSWORD)


@pytest.fixture
def page(musician: User) -> Client:
    client = Client()
    client.force_login(musician)
    return client


@pytest.fixture
def make_track(musician: User) -> MakeTrack:
    def make(name: str = "Song.wav", *, owner: User | None = None) -> Track:
        track = Track(owner=owner or musician, original_name=name, size=5, sha256="0" * 64, duration_seconds=3)
        track.file.save("original", ContentFile(b"bytes"), save=False)
        track.save()
        return track

    return make


@pytest.fixture
def make_job(make_track: MakeTrack) -> MakeJob:
    def make(
        state: str = JobState.QUEUED, *, owner: User | None = None, name: str = "Song.wav", **values: Any
    ) -> SeparationJob:
        track = make_track(name, owner=owner)
        values.setdefault("options", parse_options({"model": "starter"}).as_dict())
        if state in (JobState.SUCCEEDED, JobState.FAILED):
            values.setdefault("started_at", timezone.now())
            values.setdefault("finished_at", timezone.now())
        job = SeparationJob.objects.create(owner=track.owner, track=track, model="starter", state=state, **values)
        job.refresh_from_db()
        return job

    return make


@pytest.fixture
def finished(make_job: MakeJob) -> SeparationJob:
    """A job with its four stems and one attempt."""
    job = make_job(JobState.SUCCEEDED, progress=1.0, peak_bytes=500 * 1024**2)
    Attempt.objects.create(job=job, number=1, host="here", outcome="succeeded", peak_bytes=500 * 1024**2)
    for name in ("drums", "bass", "other", "vocals"):
        stem = Stem(job=job, name=name, format="wav", size=4, sha256="0" * 64, crc32=0, samples=1, sample_rate=44100)
        stem.file.save(f"1-{name}.wav", ContentFile(b"RIFF"), save=False)
        stem.save()
    return job
