"""The first page's form as browsers send it without scripts, and separating a track again."""

import errno
import io
import shutil
import wave
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser
from django.test import Client

from separation.models import SeparationJob, Track
from tests.integration.pages.conftest import MakeTrack

CHOSEN = {"model": "starter", "preset": "balanced", "split": "all", "two_stems": "vocals", "output": "wav:bits=16"}


def song(name: str = "Song.wav", seconds: float = 0.2) -> SimpleUploadedFile:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(b"\1\2\3\4" * int(44100 * seconds))
    return SimpleUploadedFile(name, buffer.getvalue())


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte of a form's files may be read."""

    def refuse(*_: object) -> None:
        raise AssertionError("the form is read")

    monkeypatch.setattr(MultiPartParser, "parse", refuse)


def staged() -> list[Any]:
    return [path for path in django_settings.FILE_UPLOAD_TEMP_DIR.rglob("*") if path.is_file()]


def test_a_posted_song_becomes_a_track_and_a_job(page: Client) -> None:
    response = page.post("/", {**CHOSEN, "file": song()})
    job = SeparationJob.objects.select_related("track").get()
    assert response["Location"] == f"/jobs/{job.pk}"
    assert (job.track.original_name, job.track.sample_rate, job.model) == ("Song.wav", 44100, "starter")
    assert staged() == []


def test_several_files_become_several_jobs(page: Client) -> None:
    response = page.post("/", {**CHOSEN, "file": [song("One.wav"), song("Two.wav", 0.3)]})
    assert response["Location"] == "/jobs/"
    assert sorted(SeparationJob.objects.values_list("track__original_name", flat=True)) == ["One.wav", "Two.wav"]


def test_of_several_files_the_good_ones_are_taken_and_the_bad_one_is_named(page: Client) -> None:
    response = page.post("/", {**CHOSEN, "file": [SimpleUploadedFile("Bad.wav", b"no music"), song()]}, follow=True)
    assert SeparationJob.objects.count() == 1
    assert "Bad.wav: " in " ".join(map(str, response.context["messages"]))


@pytest.mark.parametrize(("content", "words"), [(b"", "The file is empty"), (b"no music at all", "No audio")])
def test_a_file_without_music_is_refused_in_words(page: Client, content: bytes, words: str) -> None:
    response = page.post("/", {**CHOSEN, "file": SimpleUploadedFile("x.mp3", content)})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not Track.objects.exists() and staged() == []


@pytest.mark.parametrize("name", ["../../evil.wav", "a\r\nb.wav", "‮gnp.wav", "-rf.wav", "x" * 240 + ".wav"])
def test_hostile_names_are_data(page: Client, name: str) -> None:
    page.post("/", {**CHOSEN, "file": song(name)})
    track = Track.objects.get()
    assert "/" not in track.original_name and "\n" not in track.original_name
    assert track.file.name == f"tracks/{track.pk}/original"


@pytest.mark.parametrize(
    ("limit", "value"), [("UPLOAD_CREATIONS_PER_MINUTE", 1), ("UPLOAD_BYTES_PER_DAY", len(song().read()) * 3 // 2)]
)
def test_each_posted_file_counts_as_an_upload(page: Client, settings: Any, limit: str, value: int) -> None:
    setattr(settings, limit, value)
    page.post("/", {**CHOSEN, "file": [song("One.wav"), song("Two.wav")]})
    assert [track.original_name for track in Track.objects.all()] == ["One.wav"]
    refused = page.post("/", {**CHOSEN, "file": song("Three.wav")})
    assert refused.status_code == 429 and f"The limit {limit.lower()} is" in refused.content.decode()
    assert staged() == []


@pytest.mark.parametrize(("limit", "status"), [("QUOTA_BYTES_PER_USER", 413), ("UPLOAD_BYTES_PER_DAY", 429)])
def test_a_form_beyond_a_limit_is_refused_before_it_is_read(
    page: Client, unread: None, settings: Any, limit: str, status: int
) -> None:
    setattr(settings, limit, 10_000)
    response = page.post("/", {**CHOSEN, "file": song(seconds=1)})
    assert response.status_code == status and f"The limit {limit.lower()} is 10000" in response.content.decode()


def test_a_form_that_the_disk_has_no_room_for_is_refused_before_it_is_read(
    page: Client, unread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage("/")._replace(free=1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    response = page.post("/", {**CHOSEN, "file": song()})
    assert (response.status_code, response["Retry-After"]) == (507, "60")
    assert "disk is full" in response.content.decode()


def test_a_disk_that_fills_up_while_a_form_is_stored_is_said_so(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TemporaryFileUploadHandler, "receive_data_chunk", full)
    response = page.post("/", {**CHOSEN, "file": song()})
    assert (response.status_code, staged()) == (507, [])
    assert "disk is full" in response.content.decode()


def test_options_are_carried_over(page: Client) -> None:
    page.post("/", {**CHOSEN, "preset": "fast", "split": "two", "output": "flac:bits=24", "file": song()})
    options = SeparationJob.objects.get().options
    assert options["two_stems"] == "vocals" and options["format"] == "flac" and options["quality"] == {"bits": 24}
    assert options["preset"] == "fast"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "../etc"}, "not one of the available choices"),
        ({"model": "htdemucs"}, "are not on this server"),
        ({"split": "some"}, "at least one stem"),
        ({"split": "some", "stems": ["piano"]}, "has no stem"),
        ({"split": "two", "two_stems": "piano"}, "has no stem"),
        ({"output": "exe:bits=16"}, "not one of the available choices"),
        ({"preset": ""}, "required"),
    ],
)
def test_options_that_cannot_be_are_explained(page: Client, change: dict[str, Any], words: str) -> None:
    response = page.post("/", {**CHOSEN, "file": song(), **change})
    assert response.status_code in (400, 422)
    assert words in response.content.decode()
    assert not SeparationJob.objects.exists() and staged() == []


def test_no_file_at_all_is_explained(page: Client) -> None:
    response = page.post("/", CHOSEN)
    assert response.status_code == 400
    assert "This field is required" in response.content.decode()


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(page: Client, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    response = page.post("/", {**CHOSEN, "file": song(seconds=2)})
    assert response.status_code == 413
    assert "up to 1000 bytes" in response.content.decode()


def test_the_upload_form_needs_its_csrf_token(musician: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(musician)
    assert client.post("/", {**CHOSEN, "file": song()}).status_code == 403
    assert not Track.objects.exists() and staged() == []


def test_a_visitor_cannot_upload(client: Client, musician: User) -> None:
    assert client.post("/", {**CHOSEN, "file": song()}).status_code == 302
    assert not Track.objects.exists()


def test_a_track_can_be_separated_again_with_other_options(page: Client, make_track: MakeTrack) -> None:
    track = make_track()
    response = page.post(f"/tracks/{track.pk}/separate/", {**CHOSEN, "split": "some", "stems": ["bass", "vocals"]})
    job = SeparationJob.objects.get()
    assert response["Location"] == f"/jobs/{job.pk}"
    assert job.options["stems"] == ["bass", "vocals"]


def test_a_refused_separation_keeps_the_choices(page: Client, make_track: MakeTrack) -> None:
    response = page.post(f"/tracks/{make_track().pk}/separate/", {**CHOSEN, "model": "htdemucs", "preset": "best"})
    html = response.content.decode()
    assert response.status_code == 400
    assert 'value="best" checked' in html and "are not on this server" in html


def test_separating_from_a_page_counts_against_the_jobs_of_a_minute(
    page: Client, make_track: MakeTrack, settings: Any
) -> None:
    settings.JOB_CREATIONS_PER_MINUTE = 1
    path = f"/tracks/{make_track().pk}/separate/"
    assert page.post(path, CHOSEN).status_code == 302
    response = page.post(path, CHOSEN)
    assert response.status_code == 400 and "At most 1 jobs can be asked for in a minute" in response.content.decode()


def test_the_account_page_still_counts_the_minutes_of_a_deleted_job(page: Client, make_track: MakeTrack) -> None:
    track = make_track()
    Track.objects.update(duration_seconds=1260)
    page.post(f"/tracks/{track.pk}/separate/", CHOSEN)
    SeparationJob.objects.get().delete()
    assert "21 min" in page.get("/account/").content.decode()
