"""The tus protocol as a client meets it."""

import hashlib
import io
from base64 import b64encode
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from separation.models import Track
from separation.uploads.body import GuardedBody
from separation.uploads.models import Upload
from separation.uploads.parts import Part
from separation.uploads.services import settle, write
from tests.integration.uploads.conftest import BASE, Tus, code_of, staged
from tests.integration.uploads.sounds import wav_bytes


def checksum(algorithm: str, data: bytes) -> str:
    return f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def test_options_tells_what_the_server_can_do_without_an_account(db: None) -> None:
    response = Client().options(BASE)
    assert (response.status_code, response["Tus-Version"]) == (204, "1.0.0")
    assert "creation-with-upload" in response["Tus-Extension"]
    assert response["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert int(response["Tus-Max-Size"]) > 0


def test_a_new_upload_stands_at_zero_and_leaves_nothing_on_disk(tus: Tus) -> None:
    created = tus.create(100)
    head = tus.send("HEAD", created["Location"])
    assert (created.status_code, created["Location"][: len(BASE)]) == (201, BASE)
    assert (head.status_code, head["Upload-Offset"], head["Upload-Length"]) == (200, "0", "100")
    assert head["Cache-Control"] == "no-store"
    assert "Upload-Expires" in head
    assert staged() == []


def test_the_location_is_a_path_whatever_host_was_named(tus: Tus) -> None:
    created = tus.create(100, X_Forwarded_Host="evil.example")
    assert created["Location"].startswith("/api/v1/uploads/")


def test_metadata_comes_back_as_it_was_sent(tus: Tus) -> None:
    text = f"filename {b64encode('Möwe.wav'.encode()).decode()},empty"
    location = tus.create(100, Upload_Metadata=text)["Location"]
    assert tus.send("HEAD", location)["Upload-Metadata"] == text


def test_pieces_become_a_track_with_all_bytes(tus: Tus, owner: User) -> None:
    data = wav_bytes()
    name = b64encode(b"song.wav").decode()
    location = tus.create(len(data), Upload_Metadata=f"filename {name}")["Location"]
    first = tus.patch(location, 0, data[:1000])
    last = tus.patch(location, 1000, data[1000:])
    assert (first.status_code, first["Upload-Offset"]) == (204, "1000")
    assert (last.status_code, last["Upload-Offset"]) == (204, str(len(data)))
    track = Track.objects.get(pk=last["Stemsite-Track"])
    assert (track.owner, track.original_name, track.size) == (owner, "song.wav", len(data))
    assert track.sha256 == hashlib.sha256(data).hexdigest()
    assert staged() == []


def test_the_finished_upload_names_its_track(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data)["Location"]
    track = Track.objects.get()
    assert tus.send("HEAD", location)["Stemsite-Track"] == str(track.pk)
    shown = tus.send("GET", location).json()
    assert (shown["state"], shown["track"], shown["offset"]) == ("finished", str(track.pk), len(data))


def test_the_first_bytes_may_come_with_the_creation(tus: Tus) -> None:
    created = tus.create(10, b"abcd")
    assert (created.status_code, created["Upload-Offset"]) == (201, "4")
    assert tus.send("HEAD", created["Location"])["Upload-Offset"] == "4"


def test_a_deferred_length_is_told_later_and_once(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(None, Upload_Defer_Length="1")["Location"]
    assert tus.send("HEAD", location)["Upload-Defer-Length"] == "1"
    assert tus.patch(location, 0, data[:100]).status_code == 204
    told = tus.patch(location, 100, data[100:200], Upload_Length=str(len(data)))
    assert (told.status_code, told["Upload-Length"]) == (204, str(len(data)))
    again = tus.patch(location, 200, data[200:], Upload_Length="5")
    assert again.status_code == 400
    assert tus.patch(location, 200, data[200:])["Stemsite-Track"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_piece_with_its_checksum_is_kept(tus: Tus, algorithm: str) -> None:
    location = tus.create(10)["Location"]
    response = tus.patch(location, 0, b"abcd", Upload_Checksum=checksum(algorithm, b"abcd"))
    assert (response.status_code, response["Upload-Offset"]) == (204, "4")


def test_a_piece_with_another_checksum_is_dropped_whole(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    tus.patch(location, 0, b"ab")
    response = tus.patch(location, 2, b"cdef", Upload_Checksum=checksum("sha1", b"other"))
    assert (response.status_code, code_of(response)) == (460, "checksum_mismatch")
    assert tus.send("HEAD", location)["Upload-Offset"] == "2"
    assert [path.read_bytes() for path in staged()] == [b"ab"]


def test_a_file_with_another_sha256_than_announced_is_refused(tus: Tus) -> None:
    data = wav_bytes()
    announced = b64encode(b"0" * 64).decode()
    response = tus.create(len(data), data, Upload_Metadata=f"sha256 {announced}")
    assert (response.status_code, code_of(response)) == (422, "checksum_mismatch")
    assert (Track.objects.count(), staged()) == (0, [])


def test_a_terminated_upload_is_gone_with_its_bytes(tus: Tus) -> None:
    location = tus.create(10, b"abcd")["Location"]
    assert tus.send("DELETE", location).status_code == 204
    assert staged() == []
    assert tus.send("HEAD", location).status_code == 410
    assert tus.patch(location, 4, b"ef").status_code == 410
    assert tus.send("DELETE", location).status_code == 410


def test_deleting_a_finished_upload_leaves_its_track(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data)["Location"]
    assert tus.send("DELETE", location).status_code == 204
    assert Track.objects.count() == 1


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "DELETE"])
def test_the_method_may_come_in_a_header(tus: Tus, method: str) -> None:
    location = tus.create(10)["Location"]
    response = tus.send(
        "POST",
        location,
        b"ab" if method == "PATCH" else b"",
        X_HTTP_Method_Override=method,
        Upload_Offset="0",
        Content_Type="application/offset+octet-stream",
    )
    assert response.status_code == {"PATCH": 204, "HEAD": 200, "DELETE": 204}[method]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
def test_an_upload_of_someone_else_is_not_there(tus: Tus, others_tus: Tus, method: str) -> None:
    location = tus.create(10, b"abcd")["Location"]
    response = others_tus.send(method, location, b"ef" if method == "PATCH" else b"", Upload_Offset="4")
    assert response.status_code == 404
    assert tus.send("HEAD", location)["Upload-Offset"] == "4"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "POST"])
def test_nobody_gets_nothing(tus: Tus, method: str) -> None:
    location = BASE if method == "POST" else tus.create(10)["Location"]
    response = Tus(None).send(method, location, Upload_Offset="0", Upload_Length="5")
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="stemsite"')


def test_an_offset_that_is_not_where_the_upload_stands_is_told_the_right_one(tus: Tus) -> None:
    location = tus.create(10, b"abcd")["Location"]
    for offset in (0, 3, 5, 10, 2**63 - 1):
        response = tus.patch(location, offset, b"x")
        assert (response.status_code, code_of(response)) == (409, "offset_mismatch")
        assert response["Upload-Offset"] == "4"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_an_upload_whose_holder_does_not_give_way_is_locked(tus: Tus, settings: Any, method: str) -> None:
    settings.UPLOAD_LOCK_WAIT_SECONDS = 0.1
    location = tus.create(10, b"abcd")["Location"]
    with Part(staged()[0]).locked(0):
        response = tus.send(method, location, Upload_Offset="4")
        assert (response.status_code, code_of(response), response["Retry-After"]) == (423, "upload_locked", "5")
        assert tus.send("HEAD", location)["Upload-Offset"] == "4"
    assert tus.patch(location, 4, b"ef")["Upload-Offset"] == "6"


def test_more_than_the_length_is_refused_before_it_is_read(tus: Tus) -> None:
    location = tus.create(10, b"abcd")["Location"]
    response = tus.patch(location, 4, b"efghijk")
    assert (response.status_code, response["Upload-Offset"]) == (413, "4")


def test_the_last_piece_again_is_answered_as_the_first_time(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data)["Location"]
    response = tus.patch(location, len(data), b"")
    assert (response.status_code, response["Upload-Offset"]) == (204, str(len(data)))
    assert tus.patch(location, len(data), b"more").status_code == 413
    assert tus.patch(location, 0, b"more").status_code == 409


@pytest.fixture
def overtaken(tus: Tus) -> Upload:
    """An upload as a request reads it, which then has to wait for the one that finishes it."""
    data = wav_bytes()
    announced = f"sha256 {b64encode(hashlib.sha256(data).hexdigest().encode()).decode()}"
    location = tus.create(len(data), data[:-1], Upload_Metadata=announced)["Location"]
    read = Upload.objects.get()
    tus.patch(location, read.offset, data[-1:])
    return read


def test_asking_while_an_upload_is_finished_finds_its_track(overtaken: Upload) -> None:
    assert settle(overtaken).track == Track.objects.get()
    assert staged() == []


def test_the_last_piece_sent_again_while_the_first_is_taken_is_answered_alike(overtaken: Upload) -> None:
    body = GuardedBody(io.BytesIO(), 0, stop_file=None, stall_seconds=60)
    assert write(overtaken, body, offset=overtaken.length or 0, announced=0).track == Track.objects.get()
    assert staged() == []


def test_a_file_that_is_no_audio_is_refused_and_leaves_nothing(tus: Tus) -> None:
    response = tus.create(11, b"hello world")
    location = response["Location"]
    assert (response.status_code, code_of(response)) == (422, "unreadable_audio")
    assert staged() == []
    shown = tus.send("GET", location).json()
    assert (shown["state"], shown["problem"]["code"]) == ("rejected", "unreadable_audio")
    assert code_of(tus.patch(location, 11, b"")) == "unreadable_audio"


def test_a_crash_between_bytes_and_offset_leaves_bytes_that_nobody_counts(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data[:100])["Location"]
    part = staged()[0]
    part.write_bytes(part.read_bytes() + b"uncounted")
    assert tus.send("HEAD", location)["Upload-Offset"] == "100"
    assert tus.patch(location, 100, data[100:])["Stemsite-Track"]
    assert Track.objects.get().sha256 == hashlib.sha256(data).hexdigest()


def test_bytes_that_a_disk_lost_are_asked_for_again(tus: Tus) -> None:
    location = tus.create(10, b"abcdef")["Location"]
    staged()[0].write_bytes(b"abc")
    assert tus.send("HEAD", location)["Upload-Offset"] == "3"


def test_an_upload_that_crashed_after_its_last_byte_is_finished_by_asking(tus: Tus, owner: User) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data[:-1])["Location"]
    staged()[0].write_bytes(data)
    Upload.objects.update(offset=len(data))
    head = tus.send("HEAD", location)
    assert (head["Upload-Offset"], head["Stemsite-Track"]) == (str(len(data)), str(Track.objects.get().pk))


def test_a_track_that_a_crash_separated_from_its_upload_is_found_again(tus: Tus) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data)["Location"]
    Upload.objects.update(state="receiving", track=None)
    upload = Upload.objects.get()
    Part.of(upload.host, upload.id).path.write_bytes(data)
    assert tus.send("HEAD", location)["Stemsite-Track"] == str(Track.objects.get().pk)
    assert staged() == []


def test_a_file_system_without_second_names_will_do(tus: Tus, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", unsupported)
    data = wav_bytes()
    assert tus.create(len(data), data)["Stemsite-Track"]
    assert staged() == []


def test_an_expired_upload_is_gone(tus: Tus) -> None:
    location = tus.create(10)["Location"]
    Upload.objects.update(expires_at=timezone.now())
    assert tus.send("HEAD", location).status_code == 410


def test_a_creation_sent_twice_under_one_key_creates_one_upload(tus: Tus) -> None:
    first, second = (tus.create(10, Idempotency_Key="k") for _ in range(2))
    assert (second.status_code, second["Location"]) == (201, first["Location"])
    assert code_of(tus.create(11, Idempotency_Key="k")) == "idempotency_mismatch"
    assert Upload.objects.count() == 1


def test_a_creation_whose_bytes_were_refused_is_the_same_upload_when_sent_again(tus: Tus) -> None:
    headers = {"Upload_Checksum": checksum("sha1", b"other"), "Idempotency_Key": "k"}
    first, second = tus.create(10, b"abcd", **headers), tus.create(10, b"abcd", **headers)
    assert (first.status_code, second.status_code, second["Upload-Offset"]) == (460, 201, "0")
    assert first["Location"] == second["Location"]


def test_a_creation_with_a_whole_file_gives_its_track_again(tus: Tus) -> None:
    data = wav_bytes()
    first, second = (tus.create(len(data), data, Idempotency_Key="k") for _ in range(2))
    assert (second.status_code, second["Upload-Offset"]) == (201, str(len(data)))
    assert second["Stemsite-Track"] == first["Stemsite-Track"] == str(Track.objects.get().pk)


def test_a_creation_with_a_file_that_is_not_music_is_refused_each_time(tus: Tus) -> None:
    answers = [tus.create(4, b"abcd", Idempotency_Key="k") for _ in range(2)]
    assert [(answer.status_code, code_of(answer)) for answer in answers] == [(422, "unreadable_audio")] * 2
    assert Upload.objects.count() == 1
