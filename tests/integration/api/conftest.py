"""Two users, clients with their tokens, and a finished job with real stem files."""

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from separation import catalog
from separation.models import JobState, SeparationJob, Stem, Track
from separation.tokens.services import create_token

Api = Callable[..., Any]


def api_for(token: str | None) -> Api:
    """`api(method, path, json=None, **headers)` with this token; errors become answers as in production."""
    client = Client(raise_request_exception=False)

    def call(method: str, path: str, json: Any = None, data: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        send = getattr(client, method.lower())
        if data is not None:
            return send(path, data, headers=named)
        return (
            send(path, json, content_type="application/json", headers=named)
            if json is not None
            else send(path, headers=named)
        )

    call.token = token  # type: ignore[attr-defined]
    return call


def code_of(response: HttpResponse) -> str:
    """The problem's code; an answer that is no problem document fails the test."""
    assert response["Content-Type"] == "application/problem+json", response.content[:300]
    body = response.json()  # type: ignore[attr-defined]
    assert body["status"] == response.status_code
    return str(body["code"])


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, settings: Any) -> None:
    settings.STAGING_DIR = tmp_path / "staging"
    settings.STAGING_DIR.mkdir()
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture(autouse=True)
def _a_ready_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No job runs here: that the starter model's files are there is enough."""
    folder = tmp_path / "starter"
    folder.mkdir()
    for name in ("starter.yaml", "starter.safetensors"):
        (folder / name).touch()
    monkeypatch.setattr(catalog, "STARTER_DIR", folder)


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def stranger(db: None) -> User:
    return User.objects.create_user("stranger")


@pytest.fixture
def api(owner: User) -> Api:
    return api_for(create_token(owner, "test")[1])


@pytest.fixture
def others_api(stranger: User) -> Api:
    return api_for(create_token(stranger, "test")[1])


@pytest.fixture
def anyone(db: None) -> Api:
    return api_for(None)


def make_track(owner: User, name: str = "song.wav", data: bytes = b"sound", seconds: float = 3.0) -> Track:
    track = Track(
        owner=owner,
        original_name=name,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        duration_seconds=seconds,
        sample_rate=44100,
        channels=2,
    )
    track.file.save("original", ContentFile(data), save=False)
    track.save(force_insert=True)
    track.refresh_from_db()
    return track


def make_job(track: Track, state: str = JobState.QUEUED, **values: Any) -> SeparationJob:
    values = {"model": "starter", "options": {"model": "starter"}, "fingerprint": "f" * 64, **values}
    job = SeparationJob.objects.create(owner=track.owner, track=track, state=state, **values)
    job.refresh_from_db()
    return job


def make_stem(job: SeparationJob, name: str, data: bytes) -> Stem:
    stem = Stem(
        job=job,
        name=name,
        format="wav",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        crc32=zlib.crc32(data),
        samples=len(data) // 4,
        sample_rate=44100,
    )
    stem.file.save(f"1-{name}.wav", ContentFile(data), save=False)
    stem.save(force_insert=True)
    stem.refresh_from_db()
    return stem


@pytest.fixture
def track(owner: User) -> Track:
    return make_track(owner)


@pytest.fixture
def finished(track: Track) -> SeparationJob:
    job = make_job(track, JobState.SUCCEEDED, progress=1.0, finished_at=timezone.now())
    for name in ("vocals", "drums"):
        make_stem(job, name, name.encode() * 1000)
    return job
