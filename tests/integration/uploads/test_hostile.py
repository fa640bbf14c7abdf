"""What a tus client should not send: each gets the right 4xx as a problem document, and leaves nothing behind."""

import shutil
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from memory.models import Host
from separation.tokens.services import create_token
from separation.uploads import limits
from separation.uploads.models import Upload
from tests.integration.uploads.conftest import BASE, Tus, code_of, staged
from tests.integration.uploads.sounds import wav_bytes

BAD_LENGTHS = ["-1", "1e9", "+5", "٣", str(2**63), "5, 5", "", "5.0"]


@pytest.mark.parametrize("length", BAD_LENGTHS)
def test_a_length_that_makes_no_sense_creates_nothing(tus: Tus, length: str) -> None:
    response = tus.create(length)
    assert (response.status_code, code_of(response)) == (400, "invalid_header")
    assert Upload.objects.count() == 0


def test_length_and_deferred_length_together_create_nothing(tus: Tus) -> None:
    assert tus.create(5, Upload_Defer_Length="1").status_code == 400
    assert tus.send("POST").status_code == 400


@pytest.mark.parametrize("offset", BAD_LENGTHS)
def test_an_offset_that_makes_no_sense_is_refused(tus: Tus, offset: str) -> None:
    location = tus.create(10)["Location"]
    assert tus.patch(location, offset, b"x").status_code == 400


def test_a_patch_without_an_offset_is_refused(tus: Tus) -> None:
    assert tus.send("PATCH", tus.create(10)["Location"], b"x").status_code == 400


@pytest.mark.parametrize("version", ["0.2.2", "2.0.0", None])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused_before_anything_happens(tus: Tus, version: str | None, method: str) -> None:
    location = tus.create(10)["Location"]
    path = BASE if method == "POST" else location
    response = tus.send(method, path, Tus_Resumable=version, Upload_Length="5", Upload_Offset="0")
    assert (response.status_code, response["Tus-Version"]) == (412, "1.0.0")
    assert Upload.objects.count() == 1


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(tus: Tus, kind: str) -> None:
    location = tus.create(10)["Location"]
    response = tus.patch(location, 0, b"ab", Content_Type=kind)
    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")
    assert tus.create(10, b"ab", Content_Type=kind).status_code == 415


@pytest.mark.parametrize(
    "text",
    [
        "filename %%%",
        "a YQ==,a YQ==",
        "a " + "A" * 65536,
        "filename " + b64encode(b"\xff\xfe").decode(),
        ",",
        "filename YQ==,",
        "é YQ==",
        "sha256 " + b64encode(b"nonsense").decode(),
    ],
)
def test_metadata_that_makes_no_sense_creates_nothing(tus: Tus, text: str) -> None:
    response = tus.create(5, Upload_Metadata=text)
    assert (response.status_code, code_of(response)) == (400, "invalid_metadata")
    assert Upload.objects.count() == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b.wav", "\u202egnp.wav", "-rf", "x" * 300, 'a"\r\nb', "🎵"])
def test_a_file_name_is_only_ever_a_name(tus: Tus, name: str) -> None:
    encoded = b64encode(name.encode()).decode()
    location = tus.create(10, b"abcd", Upload_Metadata=f"filename {encoded}")["Location"]
    shown = tus.send("GET", location).json()["filename"]
    assert 1 <= len(shown) <= 255 and shown.isprintable() and "/" not in shown
    assert [path.name for path in staged()] == [f"{location.split('/')[-2]}.part"]


@pytest.mark.parametrize("value", ["md5 AAAA", "sha1", "sha1 !!!", "sha1 AAAA", "", "crc32 AAAAAA=="])
def test_a_checksum_that_makes_no_sense_is_refused(tus: Tus, value: str) -> None:
    location = tus.create(10)["Location"]
    assert tus.patch(location, 0, b"ab", Upload_Checksum=value).status_code == 400
    assert tus.send("HEAD", location)["Upload-Offset"] == "0"


def test_a_body_of_unknown_length_is_refused(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    response = tus.patch(location, 0, b"ab", Transfer_Encoding="chunked")
    assert (response.status_code, code_of(response)) == (411, "length_required")
    assert tus.patch(location, 0, b"", Content_Length=None).status_code == 411


def test_a_creation_longer_than_its_length_creates_nothing(tus: Tus) -> None:
    assert tus.create(3, b"abcd").status_code == 413
    assert Upload.objects.count() == 0


def test_an_upload_beyond_the_size_limit_is_refused_with_its_name(tus: Tus, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 100
    response = tus.create(101)
    assert (response.status_code, response.json()["limit_name"]) == (413, "max_upload_bytes")
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    assert tus.patch(location, 0, b"x" * 101).status_code == 413
    assert tus.patch(location, 0, b"x", Upload_Length="101").status_code == 413


def test_an_empty_file_is_refused_at_once(tus: Tus) -> None:
    response = tus.create(0)
    assert (response.status_code, code_of(response)) == (422, "empty_file")


def test_unfinished_uploads_count_against_the_quota(tus: Tus, settings: Any) -> None:
    settings.QUOTA_BYTES_PER_USER = 150
    assert tus.create(100).status_code == 201
    response = tus.create(100)
    assert (response.status_code, response.json()["limit_name"]) == (413, "quota_bytes_per_user")


@pytest.mark.parametrize("limit", ["QUOTA_BYTES_PER_USER", "UPLOAD_BYTES_PER_DAY"])
def test_bytes_of_an_unknown_length_are_limited_as_they_come(tus: Tus, settings: Any, limit: str) -> None:
    setattr(settings, limit, 100)
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    assert tus.patch(location, 0, b"x" * 60).status_code == 204
    assert tus.patch(location, 60, b"x" * 41).json()["limit_name"] == limit.lower()
    assert tus.patch(location, 60, b"x" * 40).status_code == 204


@pytest.mark.parametrize("limit", ["QUOTA_BYTES_PER_USER", "UPLOAD_BYTES_PER_DAY"])
def test_a_length_told_late_counts_what_has_arrived_once(tus: Tus, settings: Any, limit: str) -> None:
    data = wav_bytes()
    setattr(settings, limit, len(data))
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    tus.patch(location, 0, data[:-100])
    refused = tus.patch(location, len(data) - 100, b"", Upload_Length=str(len(data) + 1))
    assert refused.json()["limit_name"] == limit.lower()
    assert tus.patch(location, len(data) - 100, data[-100:], Upload_Length=str(len(data))).status_code == 204


def test_a_length_told_late_asks_for_room_for_the_rest_only(tus: Tus, monkeypatch: Any) -> None:
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    tus.patch(location, 0, b"x" * 90)
    room = shutil.disk_usage("/")._replace(free=limits.DISK_MARGIN + 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    assert tus.patch(location, 90, b"", Upload_Length="101").status_code == 507
    assert tus.patch(location, 90, b"", Upload_Length="100").status_code == 204


def test_many_empty_creations_are_stopped_and_leave_no_files(tus: Tus, settings: Any) -> None:
    settings.UPLOAD_MAX_UNFINISHED = 20
    statuses = [tus.create(10).status_code for _ in range(30)]
    assert (statuses.count(201), statuses.count(429)) == (20, 10)
    assert staged() == []


def test_creating_too_fast_is_throttled_and_resuming_is_not(tus: Tus, settings: Any) -> None:
    settings.UPLOAD_CREATIONS_PER_MINUTE = 1
    location = tus.create(10)["Location"]
    response = tus.create(10)
    assert (response.status_code, response.json()["limit_name"]) == (429, "upload_creations_per_minute")
    assert response["Retry-After"] == "60"
    assert tus.send("HEAD", location).status_code == 200
    assert tus.patch(location, 0, b"ab").status_code == 204


def test_the_bytes_of_a_day_are_limited(tus: Tus, settings: Any) -> None:
    settings.UPLOAD_BYTES_PER_DAY = 15
    location = tus.create(10)["Location"]
    tus.send("DELETE", location)
    response = tus.create(10)
    assert (response.status_code, response.json()["limit_name"]) == (429, "upload_bytes_per_day")


def test_an_upload_of_unknown_length_counts_however_long_it_takes(tus: Tus, settings: Any) -> None:
    settings.UPLOAD_BYTES_PER_DAY = 15
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    assert tus.patch(location, 0, b"x" * 10).status_code == 204
    Upload.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert tus.patch(location, 10, b"x" * 10).json()["limit_name"] == "upload_bytes_per_day"


def test_a_full_disk_is_said_so_and_costs_nothing_that_was_kept(tus: Tus, monkeypatch: Any) -> None:
    from memory import streaming

    location = tus.create(10, b"abcd")["Location"]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming, "_write_all", full)
    response = tus.patch(location, 4, b"ef")
    assert (response.status_code, code_of(response)) == (507, "disk_full")
    monkeypatch.undo()
    assert tus.send("HEAD", location)["Upload-Offset"] == "4"


@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS"])
def test_other_methods_are_told_which_there_are(tus: Tus, method: str) -> None:
    response = tus.send(method, tus.create(10)["Location"])
    assert response.status_code == (204 if method == "OPTIONS" else 405)
    assert "PATCH" in response["Allow"]


def test_a_read_only_token_uploads_nothing(owner: User) -> None:
    tus = Tus(create_token(owner, "r", ["read"])[1])
    assert code_of(tus.create(10)) == "insufficient_scope"


def test_a_session_without_its_csrf_token_uploads_nothing(owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    response = client.post(BASE, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
    assert (response.status_code, code_of(response)) == (403, "csrf_failed")


def test_an_upload_on_another_host_is_said_to_be_elsewhere(tus: Tus) -> None:
    location = tus.create(10, b"ab")["Location"]
    Upload.objects.update(host="elsewhere")
    response = tus.patch(location, 2, b"cd")
    assert (response.status_code, code_of(response), response["Retry-After"]) == (503, "upload_elsewhere", "1")


def test_an_upload_on_another_host_that_runs_is_ended_there(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    Upload.objects.update(host=Host.objects.create(name="elsewhere").name)
    assert code_of(tus.send("DELETE", location)) == "upload_elsewhere"


def test_an_upload_on_a_host_that_is_gone_can_be_ended(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    Upload.objects.update(host="gone")
    assert tus.send("DELETE", location).status_code == 204
    assert tus.send("HEAD", location).status_code == 410
