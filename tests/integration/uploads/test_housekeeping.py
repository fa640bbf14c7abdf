"""What happens to uploads that nobody goes on with."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from separation.models import Track
from separation.uploads.housekeeping import expire_uploads, remove_strays
from separation.uploads.models import Upload, UploadState
from separation.uploads.parts import Part, folder
from tests.integration.uploads.conftest import Tus, staged
from tests.integration.uploads.sounds import wav_bytes


def age(upload: Upload, hours: float) -> None:
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() - timedelta(hours=hours))


def test_an_upload_whose_time_is_up_ends_with_its_bytes(tus: Tus) -> None:
    location = tus.create(10, b"abcd")["Location"]
    age(Upload.objects.get(), 1)
    assert expire_uploads() == 1
    assert (Upload.objects.get().state, staged()) == (UploadState.EXPIRED, [])
    assert tus.send("HEAD", location).status_code == 410


def test_an_upload_with_time_left_is_left_alone(tus: Tus) -> None:
    tus.create(10, b"abcd")
    assert (expire_uploads(), len(staged())) == (0, 1)


def test_somebody_who_is_uploading_can_be_deleted_in_the_admin(tus: Tus, owner: User, admin_client: Client) -> None:
    tus.create(10, b"abcd")
    admin_client.post(f"/admin/auth/user/{owner.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=owner.pk).exists()
    remove_strays(older_than=-1)
    assert staged() == []


def test_an_upload_that_is_being_written_to_is_left_alone(tus: Tus) -> None:
    tus.create(10, b"abcd")
    upload = Upload.objects.get()
    age(upload, 1)
    with Part.of(upload.host, upload.id).locked(0):
        assert expire_uploads() == 0


def test_an_ended_upload_is_forgotten_after_a_day(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    tus.send("DELETE", location)
    age(Upload.objects.get(), 0)
    expire_uploads()
    assert Upload.objects.count() == 0
    assert tus.send("HEAD", location).status_code == 404


def test_an_upload_whose_last_byte_came_before_a_crash_becomes_a_track(tus: Tus) -> None:
    data = wav_bytes()
    tus.create(len(data), data[:-1])
    staged()[0].write_bytes(data)
    Upload.objects.update(offset=len(data))
    expire_uploads()
    assert Upload.objects.get().track == Track.objects.get()


def test_uploads_of_another_host_are_left_to_it(tus: Tus) -> None:
    tus.create(10, b"abcd")
    Upload.objects.update(host="elsewhere", expires_at=timezone.now() - timedelta(hours=1))
    assert expire_uploads() == 0


def test_uploads_of_a_host_that_has_not_ended_them_for_a_day_end_anyway(tus: Tus) -> None:
    tus.create(10, b"abcd")
    Upload.objects.update(host="elsewhere", expires_at=timezone.now() - timedelta(hours=25))
    assert expire_uploads() == 1
    assert Upload.objects.get().state == UploadState.EXPIRED


def test_an_upload_that_is_known_keeps_its_file_whatever_its_host(tus: Tus, settings: Any) -> None:
    tus.create(10, b"abcd")
    known = staged()[0]
    os.utime(known, (1, 1))
    settings.HOST_NAME = "renamed"
    assert (remove_strays(), known.exists()) == (0, True)


def test_files_that_another_host_left_go_after_a_day(db: None) -> None:
    old, young = folder("elsewhere") / "old.part", folder("elsewhere") / "young.part"
    for path, hours in ((old, 25), (young, 23)):
        path.touch()
        os.utime(path, (time.time() - hours * 3600,) * 2)
    assert remove_strays() == 1
    assert list(folder("elsewhere").iterdir()) == [young]


def test_a_file_that_goes_while_strays_are_looked_for_is_passed_over(db: None) -> None:
    gone, old = folder(live.HOST_NAME) / "gone.part", folder(live.HOST_NAME) / "old.part"
    gone.symlink_to("nowhere")  # listed, and not there when it is looked at
    old.touch()
    os.utime(old, (1, 1))
    assert (remove_strays(), old.exists()) == (1, False)


def test_files_that_no_upload_knows_go_once_they_are_old(tus: Tus) -> None:
    tus.create(10, b"abcd")
    known = staged()[0]
    old, young = folder(live.HOST_NAME) / "old.part", folder(live.HOST_NAME) / "young.part"
    for path in (old, young):
        path.touch()
    for path in (old, known):
        os.utime(path, (time.time() - 7200,) * 2)
    assert remove_strays() == 1
    assert staged() == sorted([known, young])


@pytest.mark.django_db(transaction=True)
def test_one_pass_of_the_housekeeper_has_ended_them_when_it_returns(tus: Tus) -> None:
    tus.create(10, b"abcd")
    age(Upload.objects.get(), 1)
    call_command("reap", "--once")
    assert Upload.objects.get().state == UploadState.EXPIRED


def test_what_interrupted_forms_left_goes_after_a_day(db: None, settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    old, young = tmp_path / "tmpa1.upload.wav", tmp_path / "tmpb2.upload.wav"
    for path, hours in ((old, 25), (young, 23)):
        path.touch()
        os.utime(path, (time.time() - hours * 3600,) * 2)
    expire_uploads()
    assert list(tmp_path.glob("*.wav")) == [young]
