"""A track whose bytes tell the stand-in engine what to do, and a runner that uses it."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection

from memory.limiter import ConcurrentOperationLimiter
from separation import catalog
from separation.models import SeparationJob, Track, track_path
from separation.services import staging, stopping, submit
from separation.services.running import JobRunner
from separation.services.submission import parse_options
from tests.acceptance.instance import SMALL
from tests.benchmarks.standins import write_standin

STUB = (sys.executable, str(Path(__file__).with_name("stub_engine.py")))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings) -> Iterator[None]:  # type: ignore[no-untyped-def]
    settings.MEDIA_ROOT, settings.STAGING_DIR = tmp_path / "media", tmp_path / "staging"
    settings.PROCESS_MEMORY_LIMIT_MB = 700
    settings.MEMORY_BUDGET_MB = 4000
    settings.MAX_CONCURRENT_OPERATIONS = 2
    stopping.withdraw()
    yield
    stopping.withdraw()


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_standin(folder, "htdemucs", overrides=SMALL)
    return folder


@pytest.fixture
def small_model(model_dir: Path, settings) -> None:  # type: ignore[no-untyped-def]
    """A real network, small and of random weights, as htdemucs."""
    settings.MODEL_DIR, settings.PROCESS_MEMORY_LIMIT_MB = model_dir, 2000


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def ready_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in needs no weights."""
    monkeypatch.setattr(catalog, "is_ready", lambda name, model_dir: name in catalog.MODELS)


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada", password="secret")


MakeTrack = Callable[..., Track]
MakeJob = Callable[..., SeparationJob]


@pytest.fixture
def make_track(user: User) -> MakeTrack:
    def make(script: str = "", *, owner: User | None = None, name: str = "Song.wav") -> Track:
        track = Track(owner=owner or user, original_name=name, size=len(script), sha256="0" * 64, duration_seconds=3)
        track.file.save(track_path(track, ""), ContentFile(script.encode()), save=False)
        track.file.name = track_path(track, "")
        track.save()
        return track

    return make


@pytest.fixture
def make_job(make_track: MakeTrack, ready_models: None) -> MakeJob:
    def make(script: str = "", *, owner: User | None = None, **options: object) -> SeparationJob:
        track = make_track(script, owner=owner)
        return submit(track.owner, track, parse_options({"model": "starter", **options}), force=True)

    return make


@pytest.fixture
def runner() -> JobRunner:
    return JobRunner(engine=STUB, limiter=ConcurrentOperationLimiter())


def staged() -> list[Path]:
    """Everything left below this host's staging folder."""
    folder = staging.host_folder()
    return sorted(folder.rglob("*")) if folder.exists() else []


def stored(prefix: str = "stems") -> list[str]:
    """Every file in storage below `prefix`."""
    root = Path(django_settings.MEDIA_ROOT)
    return sorted(str(path.relative_to(root)) for path in (root / prefix).rglob("*") if path.is_file())


def in_background(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(condition: Callable[[], object]) -> None:
    """A minute at most, which a busy machine may need."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
