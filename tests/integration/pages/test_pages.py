"""What each page shows, to whom, and that hostile names stay names."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client, RequestFactory
from django.utils import timezone

from memory.monitor import MemoryMonitor, process_monitor
from separation import catalog
from separation.api.pagination import SALT
from separation.models import JobState, SeparationJob, Track
from separation.services.submission import fingerprint_of, parse_options
from separation.views.errors import server_error
from tests.integration.pages.conftest import PASSWORD, MakeJob, MakeTrack

HOSTILE = "<script>alert(1)\"'<img src=x onerror=alert(2)>.wav"
PAGES = ["/", "/jobs/", "/tracks/", "/account/", "/account/password/"]


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_a_visitor_to_log_in(client: Client, musician: User, path: str) -> None:
    assert client.get(path)["Location"] == f"/login/?next={path}"


def test_logging_in_leads_where_one_wanted_to_go(client: Client, musician: User) -> None:
    response = client.post("/login/", {"username": "ada", "password": PASSWORD, "next": "/jobs/"})
    assert response["Location"] == "/jobs/"


def test_logging_in_never_leads_to_another_site(client: Client, musician: User) -> None:
    response = client.post("/login/", {"username": "ada", "password": PASSWORD, "next": "https://evil.example/"})
    assert response["Location"] == "/"


def test_logging_out_ends_the_session(page: Client) -> None:
    page.post("/logout/")
    assert page.get("/jobs/").status_code == 302


def test_a_changed_password_is_confirmed(page: Client) -> None:
    new = {"old_password": PASSWORD, "new_password1": "another good one", "new_password2": "another good one"}
    response = page.post("/account/password/", new, follow=True)
    assert "Your password was changed." in response.content.decode()


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_inline_scripts_or_styles(page: Client, finished: SeparationJob, path: str) -> None:
    for html in (text(page, path), text(page, f"/jobs/{finished.pk}")):
        assert not re.search(r"<script(?![^>]*\bsrc=)", html)
        assert not re.search(r"<style|\sstyle=|\son\w+=", html)


def test_empty_lists_say_so_and_lead_on(page: Client) -> None:
    assert "Nothing separated yet." in text(page, "/jobs/")
    assert "No track uploaded yet." in text(page, "/tracks/")
    assert "No failed jobs." in text(page, "/jobs/?state=failed")


def test_the_models_that_cannot_be_used_are_shown_but_not_offered(page: Client) -> None:
    html = text(page, "/")
    assert re.search(r'<option value="htdemucs"[^>]* disabled>HT Demucs – not on this server', html)
    assert re.search(r'<option value="starter"[^>]* selected>Starter', html)
    assert "For release quality use htdemucs" in html


def test_a_hostile_file_name_is_shown_as_text(page: Client, make_job: MakeJob) -> None:
    job = make_job(name=HOSTILE)
    for path in ("/jobs/", "/tracks/", f"/jobs/{job.pk}", f"/tracks/{job.track_id}/separate/"):
        html = text(page, path)
        assert "<script>alert" not in html and "<img src=x" not in html
        assert "&lt;script&gt;alert(1)" in html


def test_names_are_kept_apart_from_the_direction_of_the_page(page: Client, make_track: MakeTrack) -> None:
    make_track("שיר.wav")
    assert "<bdi>שיר.wav</bdi>" in text(page, "/tracks/")


def test_a_finished_job_offers_every_stem_and_the_zip(page: Client, finished: SeparationJob) -> None:
    html = text(page, f"/jobs/{finished.pk}")
    for stem in finished.stems.all():
        assert f'href="/api/v1/stems/{stem.pk}/audio" download="Song - {stem.name}.wav"' in html
    assert f"/api/v1/jobs/{finished.pk}/stems.zip" in html
    assert html.index('data-stem="vocals"') < html.index('data-stem="drums"')


def test_the_length_of_a_stem_is_known_before_it_is_fetched(page: Client, finished: SeparationJob) -> None:
    finished.stems.update(samples=44100 * 1800)
    assert text(page, f"/jobs/{finished.pk}").count('data-seconds="1800.00"') == 4


@pytest.mark.parametrize(
    ("stated", "truncated", "said"),
    [
        (20, True, "The file broke off after 0:03 of 0:20; the stems end there."),
        (None, True, "The file broke off after 0:03; the stems end there."),
        (20, False, "The music in the file ends after 0:03 of 0:20; the stems end there."),
        (4.1, False, ""),
    ],
)
def test_stems_that_end_before_their_track_say_so(
    page: Client, finished: SeparationJob, stated: float | None, truncated: bool, said: str
) -> None:
    finished.stems.update(samples=44100 * 3.5)
    Track.objects.update(duration_seconds=stated)
    SeparationJob.objects.update(result={"truncated_input": truncated})
    html = text(page, f"/jobs/{finished.pk}")
    assert said in html and ("the stems end there" in html) == bool(said)


@pytest.mark.parametrize("state", JobState.values)
def test_every_job_page_names_its_model(page: Client, make_job: MakeJob, state: str) -> None:
    assert "with <b>Starter</b>" in text(page, f"/jobs/{make_job(state).pk}")


def test_what_the_small_model_made_points_to_the_better_one(
    page: Client, finished: SeparationJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "HT Demucs, once <code>manage.py fetch_model htdemucs</code>" in text(page, f"/jobs/{finished.pk}")
    monkeypatch.setattr(catalog, "is_ready", lambda name, folder: True)
    assert "For release quality, separate again with HT Demucs." in text(page, f"/jobs/{finished.pk}")
    SeparationJob.objects.update(model="htdemucs")
    assert "For release quality" not in text(page, f"/jobs/{finished.pk}")


def test_a_job_whose_stems_were_cleaned_up_says_so(page: Client, finished: SeparationJob) -> None:
    finished.stems.all().delete()
    html = text(page, f"/jobs/{finished.pk}")
    assert "no longer kept" in html and f"/tracks/{finished.track_id}/separate/" in html and "stems.zip" not in html


def test_a_job_of_a_model_that_is_no_longer_offered_is_still_shown(page: Client, finished: SeparationJob) -> None:
    SeparationJob.objects.update(model="old_one")
    assert "with <b>old_one</b>" in text(page, f"/jobs/{finished.pk}")


def test_a_failed_job_says_why_and_what_to_do(page: Client, make_job: MakeJob) -> None:
    job = make_job(JobState.FAILED, reason="memory_limit", message="Try the fast preset.", peak_bytes=2**31)
    html = text(page, f"/jobs/{job.pk}")
    assert "Try the fast preset." in html and "memory_limit" in html and "Try again" in html and "2.0 GB" in html


def test_a_waiting_job_tells_its_place(page: Client, make_job: MakeJob) -> None:
    make_job()
    assert "2 in the queue" in text(page, f"/jobs/{make_job().pk}")


def test_a_waiting_job_tells_why_it_waits(page: Client, make_job: MakeJob) -> None:
    job = make_job(not_before=timezone.now() + timedelta(seconds=600), message="Memory ran out.")
    assert re.search(r"<p [^>]*data-waiting>held back for \d+ s: Memory ran out\.</p>", text(page, f"/jobs/{job.pk}"))


def test_a_page_without_scripts_reloads_itself_only_while_the_job_is_on(page: Client, make_job: MakeJob) -> None:
    assert 'http-equiv="refresh"' in text(page, f"/jobs/{make_job().pk}")
    assert 'http-equiv="refresh"' not in text(page, f"/jobs/{make_job(JobState.FAILED).pk}")


def paths_of(job: SeparationJob) -> list[tuple[str, str]]:
    actions = [("post", f"/jobs/{job.pk}/{action}/") for action in ("cancel", "retry", "delete")]
    track = f"/tracks/{job.track_id}"
    return [("get", f"/jobs/{job.pk}"), *actions, ("get", f"{track}/separate/"), ("post", f"{track}/delete/")]


def test_what_belongs_to_someone_else_is_not_there(page: Client, stranger: User, make_job: MakeJob) -> None:
    job = make_job(owner=stranger)
    for method, path in paths_of(job):
        assert getattr(page, method)(path, {"confirmed": "yes"}).status_code == 404, path
    assert SeparationJob.objects.get().state == JobState.QUEUED
    assert "Song" not in text(page, "/jobs/") + text(page, "/tracks/")


def test_what_does_not_exist_is_a_helpful_404(page: Client) -> None:
    response = page.get(f"/jobs/{uuid.uuid4()}")
    assert response.status_code == 404
    assert "belongs to someone else, or it was deleted" in response.content.decode()


def test_a_wrong_host_name_gets_a_page_even_before_anyone_is_known(client: Client, musician: User) -> None:
    response = client.get("/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "be read" in response.content.decode()


def test_the_page_for_our_own_mistakes_needs_no_database() -> None:
    response = server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert "Running jobs are not affected" in response.content.decode()


def test_cancelling_asks_first(page: Client, make_job: MakeJob) -> None:
    job = make_job()
    assert "Cancel this separation?" in page.post(f"/jobs/{job.pk}/cancel/").content.decode()
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_confirmed_cancel_cancels(page: Client, make_job: MakeJob) -> None:
    job = make_job()
    page.post(f"/jobs/{job.pk}/cancel/", {"confirmed": "yes"})
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_a_failed_job_can_be_tried_again(page: Client, make_job: MakeJob) -> None:
    job = make_job(JobState.FAILED)
    page.post(f"/jobs/{job.pk}/retry/")
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_refused_retry_says_so(page: Client, finished: SeparationJob) -> None:
    response = page.post(f"/jobs/{finished.pk}/retry/", follow=True)
    assert "Only a job that failed or was cancelled can be tried again." in response.content.decode()


def test_deleting_a_job_asks_then_deletes_and_leaves_the_track(page: Client, finished: SeparationJob) -> None:
    path = f"/jobs/{finished.pk}/delete/"
    assert "Delete this job and its stems?" in page.post(path).content.decode()
    page.post(path, {"confirmed": "yes"})
    assert not SeparationJob.objects.exists() and Track.objects.exists()


def test_deleting_a_track_asks_then_deletes_all_of_it(page: Client, finished: SeparationJob) -> None:
    path = f"/tracks/{finished.track_id}/delete/"
    assert "Delete this track?" in page.post(path).content.decode()
    page.post(path, {"confirmed": "yes"})
    assert not Track.objects.exists() and not SeparationJob.objects.exists()


def test_deleting_a_track_names_it(page: Client, make_track: MakeTrack) -> None:
    make_track("B & W.wav")
    assert 'data-confirm="Delete “B &amp; W.wav”?"' in text(page, "/tracks/")


@pytest.fixture
def second_page(page: Client, make_track: MakeTrack) -> str:
    """The address of the page of tracks after the first."""
    for number in range(27):
        make_track(f"{number}.wav")
    link = re.search(r'href="(/tracks/\?cursor=[^"]+)"', text(page, "/tracks/"))
    assert link
    return link[1]


def test_deleting_a_track_leads_back_to_the_page_it_was_on(page: Client, second_page: str) -> None:
    track = Track.objects.earliest("created_at")
    cursor = re.findall(r'name="cursor" value="([^"]+)"', text(page, second_page))[0]
    asked = page.post(f"/tracks/{track.pk}/delete/", {"cursor": cursor}).content.decode()
    assert f'name="cursor" value="{cursor}"' in asked and f'href="{second_page}"' in asked
    response = page.post(f"/tracks/{track.pk}/delete/", {"cursor": cursor, "confirmed": "yes"})
    assert response["Location"] == second_page


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "//evil.example/", pytest.param(signing.dumps(["created_at", "", ""], salt=SALT), id="of no moment")],
)
def test_deleting_a_track_leads_nowhere_but_to_a_page_of_the_list(
    page: Client, make_track: MakeTrack, cursor: str
) -> None:
    response = page.post(f"/tracks/{make_track().pk}/delete/", {"cursor": cursor, "confirmed": "yes"})
    assert response["Location"] == "/tracks/"


def test_every_page_but_the_first_leads_to_the_newest(page: Client, second_page: str) -> None:
    assert ">Newest</a>" in text(page, second_page) and ">Newest</a>" not in text(page, "/tracks/")
    Track.objects.all().delete()
    html = text(page, second_page)
    assert "No older tracks." in html and ">Newest</a>" in html


def test_music_separated_before_with_the_same_options_is_said_to_be(page: Client, finished: SeparationJob) -> None:
    options = parse_options({"model": "starter"})
    SeparationJob.objects.update(fingerprint=fingerprint_of(finished.track, options))
    form = {"model": "starter", "preset": "balanced", "split": "all", "output": "wav:bits=16"}
    response = page.post(f"/tracks/{finished.track_id}/separate/", form, follow=True)
    assert response.redirect_chain == [(f"/jobs/{finished.pk}", 302)]
    assert "separated with these options before" in response.content.decode()


@pytest.mark.parametrize(
    ("asked", "checked", "selected"),
    [
        (
            {"two_stems": "drums", "format": "mp3", "quality": {"bitrate": 320}},
            ["balanced", "two"],
            ["starter", "drums", "mp3:bitrate=320"],
        ),
        (
            {"stems": ["vocals", "bass"], "preset": "fast"},
            ["fast", "some", "vocals", "bass"],
            ["starter", "vocals", "wav:bits=16"],
        ),
        ({}, ["balanced", "all"], ["starter", "vocals", "wav:bits=16"]),
    ],
)
def test_other_options_begin_with_those_of_the_job(
    page: Client, make_job: MakeJob, asked: dict[str, Any], checked: list[str], selected: list[str]
) -> None:
    job = make_job(JobState.FAILED, options=parse_options({"model": "starter", **asked}).as_dict())
    link = f"/tracks/{job.track_id}/separate/?like={job.pk}"
    assert link in text(page, f"/jobs/{job.pk}")
    html = text(page, link)
    assert re.findall(r'value="(\w+)" checked', html) == checked
    assert re.findall(r'<option value="([^"]+)"[^>]* selected', html) == selected


def test_nothing_is_learnt_from_options_that_are_not_ones_own(
    page: Client, make_track: MakeTrack, make_job: MakeJob, stranger: User
) -> None:
    theirs = make_job(owner=stranger, options=parse_options({"model": "starter", "preset": "fast"}).as_dict())
    gone = make_job(options={"model": "gone"})
    for like in (theirs.pk, gone.pk, uuid.uuid4(), "x", ""):
        assert 'value="balanced" checked' in text(page, f"/tracks/{make_track().pk}/separate/?like={like}")


def test_chosen_stems_without_one_are_asked_for_once(page: Client, make_track: MakeTrack) -> None:
    form = {"model": "starter", "preset": "balanced", "split": "some", "output": "wav:bits=16"}
    response = page.post(f"/tracks/{make_track().pk}/separate/", form)
    errors = re.findall(r'role="alert">([^<]*)<', response.content.decode())
    assert (response.status_code, errors) == (400, ["Choose at least one stem."])


def test_an_error_is_tied_to_its_field(page: Client) -> None:
    html = page.post("/account/password/", {}).content.decode()
    for reference in re.findall(r'aria-describedby="([^"]+)"', html):
        assert all(f'id="{name}"' in html for name in reference.split()), reference
    assert 'id="id_old_password_error"' in html


def test_the_buttons_of_a_track_name_it(page: Client, make_track: MakeTrack) -> None:
    make_track()
    assert text(page, "/tracks/").count('<span class="hidden"> Song.wav</span>') == 2


@pytest.mark.parametrize("path", ["/", "/demo/", "/jobs/{job}/retry/", "/tracks/{track}/separate/"])
def test_no_page_takes_work_while_the_process_holds_too_much(
    page: Client, make_job: MakeJob, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MemoryMonitor(limit=1, warning_threshold=1, check_interval=7)
    monkeypatch.setattr(process_monitor, "accepting_work", full.accepting_work)
    job = make_job(JobState.FAILED)
    response = page.post(path.format(job=job.pk, track=job.track_id))
    assert (response.status_code, response["Retry-After"]) == (503, "7")
    assert "this server process holds" in response.content.decode()
    assert page.get("/").status_code == 200
    job.refresh_from_db()
    assert (job.state, SeparationJob.objects.count()) == (JobState.FAILED, 1)


ACTIONS = [
    ("/demo/", "/"),
    ("/jobs/{job}/cancel/", "/jobs/{job}"),
    ("/jobs/{job}/retry/", "/jobs/{job}"),
    ("/jobs/{job}/delete/", "/jobs/{job}"),
    ("/tracks/{track}/delete/", "/tracks/"),
    ("/account/tokens/", "/account/"),
    ("/account/tokens/1/revoke/", "/account/"),
]


@pytest.mark.parametrize(("path", "belongs_to"), ACTIONS)
def test_nothing_is_changed_by_following_a_link_to_an_action(
    page: Client, make_job: MakeJob, path: str, belongs_to: str
) -> None:
    job = make_job()
    names = {"job": job.pk, "track": job.track_id}
    assert page.get(path.format(**names))["Location"] == belongs_to.format(**names)
    job.refresh_from_db()
    assert (job.state, SeparationJob.objects.count()) == (JobState.QUEUED, 1)


@pytest.mark.parametrize(("path", "belongs_to"), ACTIONS)
def test_an_action_after_the_session_ended_leads_back_to_its_page(
    client: Client, make_job: MakeJob, path: str, belongs_to: str
) -> None:
    job = make_job()
    names = {"job": job.pk, "track": job.track_id}
    response = client.post(path.format(**names), {"confirmed": "yes"})
    assert response["Location"] == "/login/?next=" + belongs_to.format(**names)
    job.refresh_from_db()
    assert (job.state, SeparationJob.objects.count()) == (JobState.QUEUED, 1)


def test_logging_out_takes_more_than_a_link(page: Client) -> None:
    assert page.get("/logout/").status_code == 405


def test_a_post_without_its_csrf_token_is_a_helpful_403(musician: User, make_job: MakeJob) -> None:
    client, job = Client(enforce_csrf_checks=True), make_job()
    client.force_login(musician)
    response = client.post(f"/jobs/{job.pk}/delete/", {"confirmed": "yes"})
    assert response.status_code == 403
    assert "reload the page" in response.content.decode()
    assert SeparationJob.objects.exists()


def test_the_list_pages_by_key_through_all_jobs_once(page: Client, make_job: MakeJob) -> None:
    made = {str(make_job(JobState.CANCELLED).pk) for _ in range(30)}
    first = text(page, "/jobs/?state=cancelled")
    link = re.search(r'href="(/jobs/\?[^"]*cursor=[^"]+)"', first)
    assert link
    second = text(page, link[1].replace("&amp;", "&"))
    seen = re.findall(r'href="/jobs/([0-9a-f-]{36})"', first + second)
    assert sorted(seen) == sorted(made)
    assert "state=cancelled" in link[1]
    assert "Older" not in second


@pytest.mark.parametrize("query", ["state=bogus", "cursor=x", "cursor=%00", "page_size=1e9", "ordering=id"])
def test_a_damaged_address_is_a_400_page(page: Client, query: str) -> None:
    response = page.get(f"/jobs/?{query}")
    assert response.status_code == 400
    assert "be read" in response.content.decode()


def test_lists_never_count_all_rows(page: Client, make_job: MakeJob, django_assert_max_num_queries: Any) -> None:
    make_job(JobState.CANCELLED)
    with django_assert_max_num_queries(4) as captured:
        page.get("/jobs/")
    assert not any("COUNT(" in query["sql"] for query in captured.captured_queries)


def test_a_new_token_is_shown_once_and_works(page: Client, client: Client) -> None:
    response = page.post("/account/tokens/", {"name": "Laptop", "days": "30", "scopes": ["read"]})
    found = re.search(r'data-testid="new-token">(stem_[\w-]+)<', response.content.decode())
    assert found
    assert found[1] not in text(page, "/account/") and "Laptop" in text(page, "/account/")
    assert client.get("/api/v1/jobs/", headers={"Authorization": f"Bearer {found[1]}"}).status_code == 200


def test_a_revoked_token_is_gone(page: Client, musician: User) -> None:
    page.post("/account/tokens/", {"name": "Laptop", "days": "30", "scopes": ["read"]})
    token = musician.access_tokens.get()
    page.post(f"/account/tokens/{token.pk}/revoke/")
    assert "Revoke" not in text(page, "/account/")


def test_someone_elses_token_cannot_be_revoked(page: Client, stranger: User) -> None:
    from separation.tokens.services import create_token

    token, _ = create_token(stranger, "theirs")
    page.post(f"/account/tokens/{token.pk}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize(
    "form", [{"name": "", "days": "30", "scopes": ["read"]}, {"name": "x", "days": "9", "scopes": ["read"]}, {}]
)
def test_an_incomplete_token_form_is_shown_again(page: Client, musician: User, form: dict[str, Any]) -> None:
    assert page.post("/account/tokens/", form).status_code == 400
    assert not musician.access_tokens.exists()


def test_the_icon_that_browsers_ask_for_is_there(client: Client, musician: User) -> None:
    assert client.get("/favicon.ico")["Location"].endswith(".svg")


def test_moments_are_written_with_their_zone_for_whoever_has_no_scripts(page: Client, finished: SeparationJob) -> None:
    assert re.search(r"<time datetime=[^>]* data-at>[^<]* UTC</time>", text(page, f"/jobs/{finished.pk}"))


def test_a_server_that_does_not_go_by_the_name_in_the_address_says_so(page: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["stems.example"]
    answer = page.get("/", headers={"host": "other.example"})
    assert (answer.status_code, "add the name to ALLOWED_HOSTS" in answer.content.decode()) == (400, True)
