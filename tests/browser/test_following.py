"""Pages that follow jobs: what they show stays true whatever happens between two looks, in a real browser.

The server runs in the test's process and no engine does: states are set in the database.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Request, Route, expect
from pytest_django.live_server_helper import LiveServer

from separation import catalog
from separation.models import JobState, SeparationJob, Track
from separation.services.submission import parse_options
from tests.browser.conftest import OpenPage, let_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("beside_playwright"),
]
A_PAGE = 25


@pytest.fixture
def musician(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def page(open_page: OpenPage, live_server: LiveServer, musician: User) -> Page:
    """A page of the musician who is logged in; addresses are relative to the server's."""
    return let_in(open_page(base_url=live_server.url), live_server, musician)


def make_job(owner: User, state: str = JobState.QUEUED, name: str = "Song.wav") -> SeparationJob:
    track = Track.objects.create(owner=owner, original_name=name, size=5, sha256="0" * 64, duration_seconds=3)
    options = parse_options({"model": "starter"})
    job = SeparationJob.objects.create(owner=owner, track=track, model="starter", options=options.as_dict())
    become(job, state)
    return job


def become(job: SeparationJob, state: str) -> None:
    changes: dict[str, Any] = {"state": state}
    if state == JobState.RUNNING:
        changes |= {"attempt_number": 1, "started_at": timezone.now(), "phase": "loading"}
    if state == JobState.FAILED:
        changes |= {"reason": "engine_crashed", "finished_at": timezone.now()}
    SeparationJob.objects.filter(pk=job.pk).update(**changes)


def break_first(page: Page, path: str) -> list[str]:
    """The first script's request for a page fails as on a line that breaks; returns them as they come."""
    asked: list[str] = []

    def handle(route: Route, request: Request) -> None:
        if request.resource_type != "fetch":
            return route.continue_()
        asked.append(request.url)
        return route.abort("connectionreset") if len(asked) == 1 else route.continue_()

    page.route(path, handle)
    return asked


def test_a_job_whose_last_page_did_not_arrive_is_asked_for_again(page: Page, musician: User) -> None:
    job = make_job(musician, JobState.RUNNING)
    page.goto(f"/jobs/{job.pk}")
    asked = break_first(page, f"/jobs/{job.pk}")
    expect(page.locator("[data-phase]")).to_have_text("Loading")
    become(job, JobState.FAILED)
    expect(page.locator("#job .state.failed")).to_be_visible()
    assert len(asked) == 2


def test_a_job_that_starts_while_its_cancelling_is_confirmed_is_cancelled(page: Page, musician: User) -> None:
    job = make_job(musician)
    page.goto(f"/jobs/{job.pk}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    become(job, JobState.RUNNING)
    expect(page.locator("#job[data-state=running]")).to_be_visible()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("[data-phase]")).to_have_text("Cancelling")
    job.refresh_from_db()
    assert job.cancel_requested_at is not None


def test_the_keyboard_stays_where_it_was_when_a_job_starts(page: Page, musician: User) -> None:
    job = make_job(musician)
    page.goto(f"/jobs/{job.pk}")
    page.get_by_role("button", name="Cancel", exact=True).focus()
    become(job, JobState.RUNNING)
    expect(page.locator("#job[data-state=running]")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_focused()


def test_what_was_said_before_a_job_went_on_is_said_no_more(page: Page, musician: User) -> None:
    job = make_job(musician, JobState.FAILED)
    page.goto(f"/jobs/{job.pk}")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#messages")).to_have_text("It is in the queue again.")
    become(job, JobState.RUNNING)
    expect(page.locator("#job[data-state=running]")).to_be_visible()
    expect(page.locator("#messages")).to_be_empty()


def hrefs(page: Page) -> list[str]:
    return [item.get_attribute("href") or "" for item in page.locator("a.item").all()]


def test_the_list_takes_in_new_jobs_and_leaves_the_rest_to_the_next_page(page: Page, musician: User) -> None:
    jobs = [make_job(musician) for _ in range(A_PAGE + 1)]
    page.goto("/jobs/")
    oldest_shown = hrefs(page)[-1]
    newest = make_job(musician, name="Newest.wav")
    expect(page.locator("a.item").first).to_contain_text("Newest.wav")
    assert len(hrefs(page)) == A_PAGE and oldest_shown not in hrefs(page)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("a.item")).to_have_count(2)
    assert hrefs(page)[0] == oldest_shown and str(jobs[0].pk) in hrefs(page)[1] and str(newest.pk) not in hrefs(page)[0]


def test_a_filtered_list_whose_last_job_leaves_says_that_it_is_empty(page: Page, musician: User) -> None:
    job = make_job(musician, JobState.RUNNING)
    page.goto("/jobs/?state=running")
    page.locator("a.item").focus()
    become(job, JobState.FAILED)
    expect(page.get_by_text("No running jobs.").first).to_be_visible()
    expect(page.locator("#announce")).to_have_text("No running jobs.")
    expect(page.locator("#jobs")).to_be_focused()


@pytest.fixture
def every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the large models seem to be there."""
    monkeypatch.setattr(catalog, "is_ready", lambda *_: True)


@pytest.mark.usefixtures("every_model")
def test_two_stems_of_a_model_with_more_are_remembered(page: Page) -> None:
    page.goto("/")
    chosen = '{"model": "htdemucs_6s", "preset": "balanced", "split": "two", "two_stems": "guitar"}'
    page.evaluate("chosen => localStorage.setItem('stemsite.options', chosen)", chosen)
    page.locator("input[type=file]").first.set_input_files(
        {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    expect(page.locator("[data-summary]")).to_contain_text("guitar and the rest")


def test_the_estimate_is_of_what_is_chosen_now(page: Page, musician: User) -> None:
    track = make_job(musician).track
    held: list[Route] = []

    def handle(route: Route) -> None:
        if not held:
            return held.append(route)
        return route.fulfill(json={"fits": True, "seconds": 100, "bytes": 2**30, "message": ""})

    page.route("**/api/v1/estimates/", handle)
    page.goto(f"/tracks/{track.pk}/separate")
    page.get_by_label("Fast").check()
    expect(page.locator("[data-estimate]")).to_contain_text("of memory")
    shown = page.locator("[data-estimate]").inner_text()
    held[0].fulfill(json={"fits": True, "seconds": 5, "bytes": 2**20, "message": ""})
    page.wait_for_timeout(300)
    expect(page.locator("[data-estimate]")).to_have_text(shown)


@pytest.mark.usefixtures("every_model")
def test_chosen_stems_without_one_are_not_sent(page: Page, musician: User) -> None:
    page.goto(f"/tracks/{make_job(musician).track.pk}/separate/")
    page.get_by_label("Chosen stems").check()
    page.get_by_role("button", name="Separate").click()
    expect(page.get_by_label("Vocals", exact=True)).to_be_focused()
    expect(page.get_by_text("Choose at least one stem.")).to_have_count(1)
    assert SeparationJob.objects.count() == 1


def test_a_new_token_that_cannot_be_copied_is_selected(page: Page) -> None:
    page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false"
    )
    page.goto("/account/")
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("button", name="Make a token").click()
    page.locator("[data-copy]").click()
    expect(page.locator("[data-copy]")).to_have_text("Press Ctrl+C")
    assert re.fullmatch(r"\S+", page.evaluate("getSelection().toString()").strip())
