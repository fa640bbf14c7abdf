"""What is committed for good, and what only in order; and that no doubt about a commit costs anybody a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.models.signals import post_save

from separation.models import Track
from separation.services import create_track
from separation.services.durability import durable
from separation.services.probing import Facts
from tests.integration.uploads.conftest import Tus
from tests.integration.uploads.sounds import wav_bytes

NORMAL, FULL = 1, 2


def synchronous() -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture(autouse=True)
def as_in_production(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = NORMAL")


def test_a_durable_commit_is_synced_and_the_next_one_is_as_before() -> None:
    with durable():
        assert synchronous() == FULL
    assert synchronous() == NORMAL


def test_one_that_fails_leaves_the_connection_as_it_was() -> None:
    with pytest.raises(ValueError, match="no"), durable():
        raise ValueError("no")
    assert (synchronous(), connection.in_atomic_block) == (NORMAL, False)


def test_inside_another_transaction_it_is_part_of_that_one() -> None:
    with transaction.atomic(), durable():
        assert synchronous() == NORMAL


@contextmanager
def ended_by(error: BaseException, *, committed: bool) -> Iterator[None]:
    """Inserting a Track ends with `error`, before or right after its commit."""

    def fail() -> None:
        raise error

    def inserted(**_: object) -> None:
        if committed:
            transaction.on_commit(fail)
        else:
            fail()

    post_save.connect(inserted, sender=Track)
    try:
        yield
    finally:
        post_save.disconnect(inserted, sender=Track)


def test_an_upload_whose_commit_was_not_answered_has_its_music(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data))["Location"]
    with ended_by(OperationalError("server closed the connection unexpectedly"), committed=True):
        assert tus.patch(location, 0, data).status_code == 500
    track = Track.objects.get()
    assert tus.send("HEAD", location)["Stemsite-Track"] == str(track.pk)
    assert Path(track.file.path).read_bytes() == data


def test_an_upload_whose_commit_failed_is_finished_by_asking(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data))["Location"]
    with ended_by(OperationalError("server closed the connection unexpectedly"), committed=False):
        assert tus.patch(location, 0, data).status_code == 500
    assert tus.send("HEAD", location)["Stemsite-Track"] == str(Track.objects.get().pk)
    assert Path(Track.objects.get().file.path).read_bytes() == data


@pytest.mark.parametrize("committed", [True, False])
def test_a_track_keeps_its_file_if_it_was_committed_before_an_interruption(
    committed: bool, owner: User, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes())
    with ended_by(SystemExit(), committed=committed), pytest.raises(SystemExit):
        create_track(owner, path, "a.wav", probe=lambda *_: Facts(1.0, 8000, 1))
    kept = [file for file in (tmp_path / "media").rglob("*") if file.is_file()]
    assert len(kept) == Track.objects.count() == committed
