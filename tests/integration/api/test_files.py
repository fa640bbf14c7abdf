"""Stems and zips as downloads: ranges, conditions, names, links."""

import io
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from separation.api import links
from separation.models import JobState, SeparationJob, Stem
from tests.integration.api.conftest import Api, code_of, make_job, make_stem, make_track

DATA = bytes(range(256)) * 40


@pytest.fixture
def stem(owner: User) -> Stem:
    job = make_job(make_track(owner, 'A "quoted"; naïve\r\nname.mp3'), JobState.SUCCEEDED)
    return make_stem(job, "vocals", DATA)


def audio(stem: Stem) -> str:
    return f"/api/v1/stems/{stem.pk}/audio"


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_a_stem_is_sent_whole_with_what_a_browser_must_know(api: Api, stem: Stem) -> None:
    response = api("GET", audio(stem))
    assert (response.status_code, content(response)) == (200, DATA)
    assert (response["Content-Type"], response["Content-Length"]) == ("audio/wav", str(len(DATA)))
    assert (response["Accept-Ranges"], response["ETag"]) == ("bytes", f'"{stem.sha256}"')
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "private" in response["Cache-Control"]


def test_a_file_name_cannot_break_out_of_its_header(api: Api, stem: Stem) -> None:
    disposition = api("HEAD", audio(stem))["Content-Disposition"]
    assert disposition.startswith("attachment; filename*=utf-8''")
    assert "\r" not in disposition and "\n" not in disposition


def test_a_range_is_sent_as_206(api: Api, stem: Stem) -> None:
    response = api("GET", audio(stem), Range="bytes=100-199")
    assert (response.status_code, content(response)) == (206, DATA[100:200])
    assert response["Content-Range"] == f"bytes 100-199/{len(DATA)}"
    assert response["Content-Length"] == "100"


def test_head_has_the_headers_and_no_body(api: Api, stem: Stem) -> None:
    response = api("HEAD", audio(stem))
    assert (response.status_code, response["Content-Length"], content(response)) == (200, str(len(DATA)), b"")


def test_head_opens_no_file(api: Api, stem: Stem) -> None:
    stem.file.storage.delete(stem.file.name)
    assert api("HEAD", audio(stem)).status_code == 200


@pytest.mark.parametrize("header", ["bytes=999999-", "bytes=9-5", "bytes=x"])
def test_a_range_that_cannot_be_is_416_with_the_size(api: Api, stem: Stem, header: str) -> None:
    response = api("GET", audio(stem), Range=header)
    assert (response.status_code, code_of(response)) == (416, "range_not_satisfiable")
    assert response["Content-Range"] == f"bytes */{len(DATA)}"


def test_a_resumed_download_of_the_same_file_goes_on(api: Api, stem: Stem) -> None:
    response = api("GET", audio(stem), Range="bytes=100-", If_Range=f'"{stem.sha256}"')
    assert response.status_code == 206


@pytest.mark.parametrize("condition", ['"other"', "Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"])
def test_a_resumed_download_of_another_file_starts_over(api: Api, stem: Stem, condition: str) -> None:
    assert api("GET", audio(stem), Range="bytes=100-", If_Range=condition).status_code == 200


def test_an_unchanged_file_is_not_sent_again(api: Api, stem: Stem) -> None:
    assert api("GET", audio(stem), If_None_Match=f'"{stem.sha256}"').status_code == 304
    assert api("GET", audio(stem), If_None_Match='"other"').status_code == 200


def test_an_answer_without_a_file_says_nothing_of_its_type(api: Api, stem: Stem) -> None:
    """HTTP caches take the headers of a 304 for those of the file that they have."""
    assert "Content-Type" not in api("GET", audio(stem), If_None_Match=f'"{stem.sha256}"')


BEFORE = "Wed, 21 Oct 2015 07:28:00 GMT"
AFTER = "Fri, 21 Oct 2095 07:28:00 GMT"


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": 'W/"{sha256}"'}, 412),
        ({"If_Match": '"other", "{sha256}"'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Unmodified_Since": BEFORE}, 412),
        ({"If_Unmodified_Since": AFTER}, 200),
        ({"If_Unmodified_Since": "nonsense"}, 200),
        ({"If_Match": '"{sha256}"', "If_Unmodified_Since": BEFORE}, 200),
        ({"If_Match": '"other"', "If_None_Match": '"{sha256}"', "Range": "bytes=0-9"}, 412),
        ({"If_Match": '"{sha256}"', "If_None_Match": '"{sha256}"'}, 304),
        ({"If_Match": '"{sha256}"', "Range": "bytes=0-9"}, 206),
    ],
)
def test_only_the_file_that_is_expected_is_sent(api: Api, stem: Stem, conditions: dict[str, str], status: int) -> None:
    response = api("GET", audio(stem), **{name: text.format(sha256=stem.sha256) for name, text in conditions.items()})
    assert response.status_code == status
    assert status != 412 or code_of(response) == "precondition_failed"


@pytest.mark.parametrize("header", ["bytes=0-9", "bytes=999999-"])
def test_head_is_about_the_whole_file(api: Api, stem: Stem, header: str) -> None:
    response = api("HEAD", audio(stem), Range=header)
    assert (response.status_code, response["Content-Length"]) == (200, str(len(DATA)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stem_of_someone_else_is_not_there(others_api: Api, stem: Stem, method: str) -> None:
    assert others_api(method, audio(stem)).status_code == 404
    assert others_api(method, f"/api/v1/jobs/{stem.job_id}/stems.zip").status_code == 404
    assert others_api("POST", f"/api/v1/stems/{stem.pk}/link/", {}).status_code == 404


def test_a_stem_cannot_be_written_to(api: Api, stem: Stem) -> None:
    response = api("POST", audio(stem))
    assert (response.status_code, code_of(response), response["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD, OPTIONS",
    )


def test_the_zip_has_every_stem(api: Api, finished: SeparationJob) -> None:
    response = api("GET", f"/api/v1/jobs/{finished.pk}/stems.zip")
    data = content(response)
    assert (response["Content-Type"], response["Content-Length"]) == ("application/zip", str(len(data)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["song - drums.wav", "song - vocals.wav"]
        assert archive.read("song - vocals.wav") == b"vocals" * 1000


def test_the_zip_can_be_resumed_anywhere(api: Api, finished: SeparationJob) -> None:
    path = f"/api/v1/jobs/{finished.pk}/stems.zip"
    whole = content(api("GET", path))
    pieces = [content(api("GET", path, Range=f"bytes={i}-{i + 4999}")) for i in range(0, len(whole), 5000)]
    assert b"".join(pieces) == whole


@pytest.mark.parametrize("name", ["x" * 251, "あ" * 83], ids=["long", "wide"])
def test_stems_of_a_long_name_keep_theirs_and_can_be_unpacked(api: Api, owner: User, tmp_path: Path, name: str) -> None:
    job = make_job(make_track(owner, f"{name}.mp3"), JobState.SUCCEEDED)
    for stem in ("drums", "vocals"):
        make_stem(job, stem, stem.encode())
    with zipfile.ZipFile(io.BytesIO(content(api("GET", f"/api/v1/jobs/{job.pk}/stems.zip")))) as archive:
        archive.extractall(tmp_path / "out")
    endings = sorted(path.name.rpartition(" - ")[2] for path in (tmp_path / "out").iterdir())
    assert endings == ["drums.wav", "vocals.wav"]


@pytest.mark.parametrize("what", ["audio", "zip"])
def test_a_file_that_storage_cannot_open_is_answered_for(api: Api, finished: SeparationJob, what: str) -> None:
    stem = finished.stems.get(name="vocals")
    stem.file.storage.delete(stem.file.name)
    path = audio(stem) if what == "audio" else f"/api/v1/jobs/{finished.pk}/stems.zip"
    response = api("GET", path, Range="bytes=5-")
    assert (response.status_code, code_of(response), response["Retry-After"]) == (503, "storage_failed", "30")


def test_an_unfinished_job_has_no_zip(api: Api, owner: User) -> None:
    job = make_job(make_track(owner))
    response = api("GET", f"/api/v1/jobs/{job.pk}/stems.zip")
    assert (response.status_code, code_of(response)) == (409, "not_allowed_now")


def test_a_signed_link_works_without_an_account_for_its_path_only(api: Api, anyone: Api, stem: Stem) -> None:
    made = api("POST", f"/api/v1/stems/{stem.pk}/link/", {"expires_in": 60})
    url = made.json()["url"]
    assert made.status_code == 201
    assert content(anyone("GET", url)) == DATA
    assert anyone("GET", url, Range="bytes=0-9").status_code == 206
    other = f"/api/v1/jobs/{stem.job_id}/stems.zip?{url.partition('?')[2]}"
    assert code_of(anyone("GET", other)) == "link_invalid"


def test_a_zip_can_be_linked_to(api: Api, anyone: Api, finished: SeparationJob) -> None:
    url = api("POST", f"/api/v1/jobs/{finished.pk}/link/", {}).json()["url"]
    assert anyone("GET", url).status_code == 200


def test_a_link_ends_with_its_owners_account(api: Api, anyone: Api, finished: SeparationJob, owner: User) -> None:
    stem = finished.stems.get(name="vocals")
    urls = [api("POST", f"/api/v1/{of}/link/", {}).json()["url"] for of in (f"stems/{stem.pk}", f"jobs/{finished.pk}")]
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert [anyone("GET", url).status_code for url in urls] == [404, 404]


def test_an_expired_or_tampered_link_is_refused(anyone: Api, stem: Stem) -> None:
    expired, _ = links.signed(audio(stem), -1)
    good, _ = links.signed(audio(stem), 60)
    for url in (expired, good[:-1] + ("A" if good[-1] != "A" else "B"), f"{audio(stem)}?signature=x:y"):
        response = anyone("GET", url)
        assert (response.status_code, code_of(response)) == (403, "link_invalid")


def test_a_link_of_a_deleted_stem_leads_nowhere(anyone: Api, stem: Stem) -> None:
    url, _ = links.signed(f"/api/v1/stems/{uuid4()}/audio", 60)
    assert anyone("GET", url).status_code == 404


@pytest.mark.parametrize("body", [{"expires_in": 0}, {"expires_in": 10**9}, {"expires_in": "1"}, {"until": 5}])
def test_a_link_lives_for_a_reasonable_time(api: Api, stem: Stem, body: dict[str, Any]) -> None:
    assert api("POST", f"/api/v1/stems/{stem.pk}/link/", body).status_code == 422


@pytest.mark.parametrize("body", ["[]", "0", "false", '""', "null"])
def test_a_link_is_not_made_for_a_body_that_is_no_object(api: Api, stem: Stem, body: str) -> None:
    response = api("POST", f"/api/v1/stems/{stem.pk}/link/", body)
    assert (response.status_code, code_of(response)) == (400, "malformed_body")
