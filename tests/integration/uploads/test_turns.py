"""Requests at once pass no limit that they would not pass one after the other."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.utils import timezone

from separation.errors import ServiceError
from separation.models import Track
from separation.services import create_track
from separation.services.probing import Facts
from separation.uploads import limits, oneshot
from separation.uploads.housekeeping import expire_uploads
from separation.uploads.models import Upload
from separation.uploads.oneshot import take_file
from tests.integration.memory_admission.postgres import find_programs, temporary_server
from tests.integration.uploads import rush
from tests.integration.uploads.sounds import wav_bytes

ROOT = Path(__file__).parents[3]
FACTS = Facts(1.0, 8000, 1)
DATA = wav_bytes()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(DATA)
    return path


@contextmanager
def as_a_track_is_inserted(act: Callable[[], object]) -> Iterator[None]:
    def inserted(**_: object) -> None:
        act()

    post_save.connect(inserted, sender=Track)
    try:
        yield
    finally:
        post_save.disconnect(inserted, sender=Track)


def test_the_quota_is_looked_at_again_when_a_track_is_stored(owner: User, tmp_path: Path, settings: Any) -> None:
    settings.QUOTA_BYTES_PER_USER = len(DATA)

    def probe_while_another_is_stored(*_: object) -> Facts:
        create_track(owner, rush.written(tmp_path, 2, DATA), "Second.wav", probe=lambda *_: FACTS)
        return FACTS

    with pytest.raises(ServiceError) as refused:
        create_track(owner, rush.written(tmp_path, 1, DATA), "First.wav", probe=probe_while_another_is_stored)
    assert refused.value.code == "quota_exceeded"
    assert [track.original_name for track in Track.objects.all()] == ["Second.wav"]
    assert len([path for path in (tmp_path / "media").rglob("*") if path.is_file()]) == 1


def test_a_file_of_one_piece_counts_while_it_is_taken(owner: User, song: Path) -> None:
    counted: list[int] = []
    with as_a_track_is_inserted(
        lambda: counted.extend([limits.created_last_minute(owner), limits.bytes_last_day(owner)])
    ):
        take_file(owner, song, "a.wav")
    assert counted == [1, len(DATA)]
    assert (limits.created_last_minute(owner), limits.bytes_last_day(owner)) == (1, len(DATA))


def test_a_file_whose_track_is_stored_takes_its_room_once(owner: User, song: Path) -> None:
    counted: list[int] = []
    with as_a_track_is_inserted(lambda: counted.append(limits.taken_bytes(owner))):
        take_file(owner, song, "a.wav")
    assert counted == [len(DATA)]


def test_one_whose_taking_was_cut_off_is_not_on_record(owner: User, song: Path) -> None:
    with as_a_track_is_inserted(sys.exit), pytest.raises(SystemExit):
        take_file(owner, song, "a.wav")
    assert not Upload.objects.exists()


def test_the_record_of_one_that_a_crash_leaves_ends(owner: User) -> None:
    oneshot._begin(owner, "a.wav", 5)
    Upload.objects.update(expires_at=timezone.now())
    assert expire_uploads() == 1


def test_one_that_is_refused_for_the_servers_state_is_not_on_record(
    owner: User, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMSITE_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(ServiceError):
        take_file(owner, song, "a.wav")
    assert not Upload.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limit", "value", "rush_of"),
    [
        ("UPLOAD_MAX_UNFINISHED", rush.MOST, lambda owner, _: rush.creations(owner)),
        ("QUOTA_BYTES_PER_USER", rush.MOST * len(DATA), lambda owner, folder: rush.tracks(owner, folder, DATA)),
        ("UPLOAD_BYTES_PER_DAY", rush.MOST * len(DATA), lambda owner, folder: rush.files(owner, folder, DATA)),
    ],
    ids=["creations", "tracks", "files"],
)
def test_of_eight_requests_at_once_as_many_come_through_as_may(
    limit: str, value: int, rush_of: Callable[[User, Path], int], owner: User, tmp_path: Path, settings: Any
) -> None:
    setattr(settings, limit, value)
    assert rush_of(owner, tmp_path) == rush.MOST


@pytest.mark.postgres
def test_on_postgresql_too(tmp_path: Path) -> None:
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed")
    limits = {"UPLOAD_MAX_UNFINISHED": rush.MOST, "UPLOAD_BYTES_PER_DAY": rush.MOST * len(DATA)}
    limits["QUOTA_BYTES_PER_USER"] = rush.MOST * len(DATA)
    with temporary_server(programs) as address:
        env = {
            **os.environ,
            **{name: str(value) for name, value in limits.items()},
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "stemsite.settings",
            "DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": f"{address}/postgres",
        }
        subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "-v0"], env=env, check=True, timeout=60)
        done = subprocess.run([sys.executable, rush.__file__], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [rush.MOST] * 3
