"""Bad input as people meet it: the API's problem document, the page's sentence, the admin's record.

What becomes of each file and option is `test_bad_input`'s; here it is told to everyone who asks.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from memory.models import Reservation
from separation.models import JobState, SeparationJob, Track
from separation.services import create_track, parse_options, submit
from separation.services.children import ENGINE
from separation.services.running import JobRunner
from separation.tokens.services import create_token
from separation.uploads.models import Upload

from .bad_files import REFUSED, raw_wav, tone, write_wav
from .conftest import staged, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_model")]
TRACKS, UPLOADS = "/api/v1/tracks/", "/api/v1/uploads/"
CHOSEN = {"model": "htdemucs", "preset": "fast", "split": "two", "two_stems": "vocals", "output": "wav:bits=16"}
NAMES = ["../../etc/passwd.wav", "a\"b'c.wav", "a\r\nSet-Cookie: x=1.wav", "a\0b.wav", "x\u202egpj.wav", "-rf.wav"]
NAMES += ["x" * 300 + ".wav", "<script>alert(1)</script>.wav", "Ärger – сон.wav"]


@pytest.fixture(autouse=True)
def multipart_folder(tmp_path: Path, settings) -> None:  # type: ignore[no-untyped-def]
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "staging" / "multipart"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)


class People:
    """One user's three ways in, and a member of staff who looks at the admin."""

    def __init__(self, user: User) -> None:
        self.token = {"Authorization": f"Bearer {create_token(user, 'test')[1]}"}
        self.api, self.page, self.staff = (Client(raise_request_exception=False) for _ in range(3))
        self.page.force_login(user)
        self.staff.force_login(User.objects.create_superuser("boss"))

    def post_file(self, name: str, content: bytes) -> Any:
        return self.api.post(TRACKS, {"file": SimpleUploadedFile(name, content)}, headers=self.token)

    def tus(self, name: str, content: bytes) -> Any:
        """Creation with upload: the whole file in the first request."""
        named = b64encode(name.encode()).decode()
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "Upload-Metadata": f"filename {named}"}
        kind = "application/offset+octet-stream"
        return self.api.generic("POST", UPLOADS, content, content_type=kind, headers={**self.token, **headers})

    def form(self, name: str, content: bytes) -> Any:
        return self.page.post("/", {**CHOSEN, "file": SimpleUploadedFile(name, content)})

    def api_json(self, path: str) -> dict[str, Any]:
        return self.api.get(path, headers=self.token).json()

    def shown(self, path: str) -> str:
        response = self.page.get(path)
        assert response.status_code == 200
        return response.content.decode()

    def in_admin(self, name: str, *arguments: object) -> str:
        response = self.staff.get(reverse(f"admin:{name}", args=arguments))
        assert response.status_code == 200
        return response.content.decode()


@pytest.fixture
def people(user: User) -> People:
    return People(user)


def assert_problem(response: Any, code: str) -> str:
    """Returns the sentence that people are told."""
    body = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert (body["code"], body["status"]) == (code, response.status_code)
    assert 400 <= response.status_code < 600 and body["detail"].endswith(".") and body["type"].endswith(f"/{code}/")
    return str(body["detail"])


def assert_nothing_is_left() -> None:
    """Of uploads either, which are staged beside the jobs."""
    assert [path for path in Path(settings.STAGING_DIR).rglob("*") if path.is_file()] == []
    assert (Track.objects.count(), stored("tracks")) == (0, [])
    assert not Reservation.objects.held().exists()


@pytest.mark.parametrize("name", REFUSED)
def test_the_api_refuses_a_file_without_music_with_a_problem_document_and_the_page_with_its_sentence(
    name: str, people: People, uploads: Path
) -> None:
    make, code = REFUSED[name]
    path = make(uploads)
    sentence = assert_problem(people.post_file(path.name, path.read_bytes()), code)
    assert_nothing_is_left()
    response = people.form(path.name, path.read_bytes())
    assert response.status_code == 422
    assert escape(sentence) in response.content.decode()
    assert_nothing_is_left()


@pytest.mark.parametrize("name", [name for name, (_, code) in REFUSED.items() if code != "empty_file"])
def test_a_refused_upload_tells_its_client_and_the_admin_why(name: str, people: People, uploads: Path) -> None:
    make, code = REFUSED[name]
    path = make(uploads)
    sentence = assert_problem(people.tus(path.name, path.read_bytes()), code)
    upload = Upload.objects.get()
    assert people.api_json(f"{UPLOADS}{upload.pk}/")["problem"]["code"] == code
    assert code in people.in_admin("uploads_upload_changelist")
    assert escape(sentence) in people.in_admin("uploads_upload_change", upload.pk)
    assert_nothing_is_left()


@pytest.mark.parametrize("way", [People.post_file, People.form], ids=["api", "page"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_refused_in_one_piece_is_on_record_in_the_admin(
    name: str, way: Callable[[People, str, bytes], Any], people: People, uploads: Path
) -> None:
    make, code = REFUSED[name]
    path = make(uploads)
    way(people, path.name, path.read_bytes())
    refused = Upload.objects.get()
    assert (refused.state, refused.reason, refused.filename) == ("rejected", code, path.name)
    assert code in people.in_admin("uploads_upload_changelist")
    assert escape(refused.message) in people.in_admin("uploads_upload_change", refused.pk)


def test_an_empty_upload_is_refused_before_it_begins(people: People) -> None:
    assert_problem(people.tus("a.wav", b""), "empty_file")
    assert_nothing_is_left()


def test_after_every_refusal_the_next_job_runs(people: People, uploads: Path) -> None:
    for number, (make, _) in enumerate(REFUSED.values()):
        folder = uploads / str(number)
        folder.mkdir()
        assert people.form("a.wav", make(folder).read_bytes()).status_code == 422
    assert people.form("Song.wav", write_wav(uploads / "song.wav", tone(0.3)).read_bytes()).status_code == 302
    JobRunner().run_all()
    assert SeparationJob.objects.get().state == JobState.SUCCEEDED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [People.post_file, People.tus, People.form], ids=["api", "tus", "page"])
def test_a_hostile_name_is_shown_as_text_everywhere_and_is_a_path_nowhere(
    name: str, way: Callable[[People, str, bytes], Any], people: People, uploads: Path
) -> None:
    assert way(people, name, write_wav(uploads / "a.wav", tone(0.1)).read_bytes()).status_code in (201, 302)
    track = Track.objects.get()
    kept = track.original_name
    assert kept.isprintable() and 1 <= len(kept) <= 255 and not {"/", "\\", "\u202e"} & set(kept)
    assert stored("tracks") == [f"tracks/{track.pk}/original"]
    assert people.api_json(f"{TRACKS}{track.pk}/")["name"] == kept
    for page in (people.shown("/tracks/"), people.in_admin("separation_track_changelist")):
        assert escape(kept) in page and "<script>alert" not in page


@pytest.fixture
def track(user: User, uploads: Path) -> Track:
    return create_track(user, write_wav(uploads / "a.wav", tone(0.3)), "Song.wav")


FULL = ("sh", "-c", 'ulimit -f 40 && exec "$@"', "sh", *ENGINE)


def without_a_sample(track: Track, patch: pytest.MonkeyPatch, settings: Any) -> None:
    del patch, settings
    raw_wav(Path(track.file.path), b"")


def without_ffmpeg(track: Track, patch: pytest.MonkeyPatch, settings: Any) -> None:
    del track, settings
    patch.setenv("STEMSITE_FFMPEG", "/nowhere/ffmpeg")


def without_weights(track: Track, patch: pytest.MonkeyPatch, settings: Any) -> None:
    del patch
    settings.MODEL_DIR = Path(track.file.path).parent


def without_its_file(track: Track, patch: pytest.MonkeyPatch, settings: Any) -> None:
    del patch, settings
    Path(track.file.path).unlink()


@pytest.mark.parametrize(
    ("break_it", "engine", "code"),
    [
        (without_a_sample, ENGINE, "unreadable_audio"),
        (without_ffmpeg, ENGINE, "ffmpeg_missing"),
        (without_weights, ENGINE, "model_unavailable"),
        (without_its_file, ENGINE, "file_missing"),
        (None, FULL, "disk_full"),
    ],
    ids=["no sample", "no ffmpeg", "no weights", "no file", "disk full"],
)
def test_a_job_that_fails_says_why_everywhere_and_the_next_one_runs(
    break_it: Callable[..., None] | None,
    engine: tuple[str, ...],
    code: str,
    track: Track,
    people: People,
    uploads: Path,
    settings: Any,
) -> None:
    options = parse_options({"model": "htdemucs", "shifts": 0, "two_stems": "vocals"})
    with pytest.MonkeyPatch.context() as patch:
        models = settings.MODEL_DIR
        job = submit(track.owner, track, options)
        if break_it:
            break_it(track, patch, settings)
        JobRunner(engine=engine).run_all()
    job.refresh_from_db()
    told = people.api_json(f"/api/v1/jobs/{job.pk}/")
    assert (told["state"], told["reason"], told["message"]) == ("failed", code, job.message)
    for page in (people.shown(f"/jobs/{job.pk}"), people.in_admin("separation_separationjob_change", job.pk)):
        assert code in page and escape(job.message) in page and job.message.endswith(".")
    assert code in people.in_admin("separation_separationjob_changelist")
    assert staged() == [] and stored(f"stems/{job.pk}") == [] and not Reservation.objects.held().exists()
    settings.MODEL_DIR = models
    other = create_track(track.owner, write_wav(uploads / "b.wav", tone(0.2)), "Next.wav")
    following = submit(track.owner, other, options)
    JobRunner().run_all()
    following.refresh_from_db()
    assert following.state == JobState.SUCCEEDED


def test_an_upload_while_ffmpeg_is_missing_is_refused_everywhere(
    people: People, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMSITE_FFMPEG", "/nowhere/ffmpeg")
    content = write_wav(uploads / "a.wav", tone(0.1)).read_bytes()
    answer, page = people.post_file("a.wav", content), people.form("a.wav", content)
    assert escape(assert_problem(answer, "ffmpeg_missing")) in page.content.decode()
    assert answer.status_code == page.status_code == 503
    assert_nothing_is_left()
