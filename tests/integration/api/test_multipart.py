"""Uploading in one multipart request."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from separation.errors import ServiceError
from separation.models import SeparationJob, Track
from separation.services import create_track
from tests.integration.api.conftest import Api, code_of
from tests.integration.uploads.sounds import wav_bytes

TRACKS = "/api/v1/tracks/"


def staged() -> list[Path]:
    return [path for path in Path(django_settings.STAGING_DIR).rglob("*") if path.is_file()]


def test_a_file_becomes_a_track(api: Api) -> None:
    data = wav_bytes()
    response = api("POST", TRACKS, data={"file": SimpleUploadedFile("A song.wav", data)})
    body = response.json()
    assert (response.status_code, response["Location"]) == (201, f"{TRACKS}{body['id']}/")
    assert (body["name"], body["size"], body["channels"]) == ("A song.wav", len(data), 1)
    assert body["sha256"] == hashlib.sha256(data).hexdigest()
    assert staged() == []


def test_a_name_with_a_path_in_it_is_only_a_name(api: Api) -> None:
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="../../x/a.wav"\r\n\r\n'
    response = raw(api, boundary + wav_bytes() + b"\r\n--b--\r\n")
    assert (response.status_code, response.json()["name"]) == (201, "a.wav")


def raw(
    api: Any,
    body: bytes,
    kind: str = "multipart/form-data; boundary=b",
    environ: dict[str, Any] | None = None,
    **headers: str,
) -> Any:
    client = Client(raise_request_exception=False)
    named = {"Authorization": f"Bearer {api.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return client.generic("POST", TRACKS, body, content_type=kind, headers=named, **(environ or {}))


def part(name: str, content: bytes, filename: str | None = "a.wav") -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--b--\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (part("other", b"x") + END, 400),
        (part("file", b"x", filename=None) + END, 400),
        (part("file", b"x" * 100) + part("file", b"y") + END, 400),
        (END, 400),
        (b"nothing of the kind", 400),
        (part("file", b"x" * 100)[:-20], 400),
        (part("file", b"") + END, 422),
        (part("file", b"no audio") + END, 422),
    ],
)
def test_a_body_without_one_whole_sound_file_is_refused_and_leaves_nothing(api: Api, body: bytes, status: int) -> None:
    response = raw(api, body)
    assert response.status_code == status, response.content
    assert code_of(response)
    assert (staged(), Track.objects.count()) == ([], 0)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=é", 400),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_another_kind_of_body_is_refused(api: Api, kind: str, status: int) -> None:
    response = raw(api, part("file", b"x") + END, kind)
    assert (response.status_code, bool(code_of(response))) == (status, True)


def test_a_body_of_unknown_length_is_refused(api: Api) -> None:
    response = raw(api, part("file", b"x") + END, Transfer_Encoding="chunked")
    assert (response.status_code, code_of(response)) == (411, "length_required")


def test_a_body_that_breaks_off_is_not_said_to_be_kept(api: Api) -> None:
    body = part("file", b"x" * 1000)
    response = raw(api, body, environ={"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(2 * len(body))})
    assert (response.status_code, code_of(response)) == (400, "upload_incomplete_body")
    assert "nothing of it is kept" in response.json()["detail"]
    assert staged() == []


def test_a_file_beyond_the_limit_is_refused(api: Api, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    response = raw(api, part("file", b"x" * 1001) + END)
    assert (response.status_code, response.json()["limit_name"]) == (413, "max_upload_bytes")
    assert staged() == []


def test_the_same_file_under_one_key_is_one_track(api: Api) -> None:
    body = part("file", wav_bytes()) + END
    first, second = raw(api, body, Idempotency_Key="k"), raw(api, body, Idempotency_Key="k")
    assert (second.status_code, second.json()) == (201, first.json())
    assert code_of(raw(api, part("file", wav_bytes(0.3)) + END, Idempotency_Key="k")) == "idempotency_mismatch"
    assert Track.objects.count() == 1


def test_music_longer_than_allowed_is_refused_with_the_limits_name(api: Api, settings: Any) -> None:
    settings.MAX_DURATION_SECONDS = 1
    response = raw(api, part("file", wav_bytes(1.5)) + END)
    body = response.json()
    assert (response.status_code, code_of(response), body["limit_name"]) == (422, "too_long", "max_duration_seconds")
    assert (body["limit"], body["used"]) == (1, 1.5)


def test_stems_count_against_the_quota(api: Api, finished: SeparationJob, settings: Any) -> None:
    data = wav_bytes()
    settings.QUOTA_BYTES_PER_USER = len(data) + 1000
    with pytest.raises(ServiceError) as refused:
        create_track(finished.owner, written(data), "a.wav")
    assert (refused.value.code, refused.value.limit and refused.value.limit.used) == ("quota_exceeded", 11005)


def written(data: bytes) -> Path:
    path = Path(django_settings.STAGING_DIR) / "a.wav"
    path.write_bytes(data)
    return path


def test_a_file_beyond_the_quota_is_refused(api: Api, settings: Any) -> None:
    settings.QUOTA_BYTES_PER_USER = 100
    response = raw(api, part("file", wav_bytes()) + END)
    assert (response.status_code, code_of(response)) == (413, "quota_exceeded")


@pytest.mark.parametrize(
    ("limit", "value"), [("UPLOAD_CREATIONS_PER_MINUTE", 1), ("UPLOAD_BYTES_PER_DAY", int(1.5 * len(wav_bytes())))]
)
def test_files_in_one_request_count_as_uploads(api: Api, settings: Any, limit: str, value: int) -> None:
    setattr(settings, limit, value)
    body = part("file", wav_bytes()) + END
    assert raw(api, body).status_code == 201
    refused = raw(api, body)
    assert (refused.status_code, refused.json()["limit_name"]) == (429, limit.lower())


def test_a_file_taken_in_one_request_is_on_record_as_an_upload_of_its_tracks_id(api: Api) -> None:
    track = raw(api, part("file", wav_bytes()) + END).json()
    told = api("GET", f"/api/v1/uploads/{track['id']}/").json()
    assert (told["state"], told["track"], told["offset"]) == ("finished", track["id"], track["size"])


@pytest.mark.parametrize("limit", ["UPLOAD_CREATIONS_PER_MINUTE", "QUOTA_BYTES_PER_USER", "UPLOAD_BYTES_PER_DAY"])
def test_a_repeated_request_is_answered_though_a_limit_is_reached(api: Api, settings: Any, limit: str) -> None:
    body = part("file", wav_bytes()) + END
    first = raw(api, body, Idempotency_Key="k")
    setattr(settings, limit, 1)
    assert raw(api, body, Idempotency_Key="k").json() == first.json()
