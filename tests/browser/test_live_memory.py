"""The admin's live page in a real browser."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from memory import live
from memory.conf import MIB, memory_settings
from memory.incidents import record_incident
from memory.limiter import ConcurrentOperationLimiter
from memory.models import Host, IncidentKind, Reservation, ServiceProcess
from memory.queueing import Candidate
from memory.sampling import sample_host_and_processes
from tests.acceptance.instance import engines_below, wait_for
from tests.browser.conftest import OpenPage, at_home, let_in
from tests.browser.site import ROOT, Site, write_song

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("beside_playwright"),
]


@pytest.fixture
def page(open_page: OpenPage, live_server: LiveServer, admin_user: User) -> Page:
    """A page of an administrator who is logged in."""
    return let_in(open_page(viewport={"width": 1100, "height": 1200}), live_server, admin_user)


@pytest.fixture
def running() -> Reservation:
    """An operation that reserved 900 MB and uses 300 MB."""
    Host.objects.create(name=memory_settings().host_name)
    reservation = ConcurrentOperationLimiter().reserve(
        kind="separate",
        key="song-1",
        bytes=900 * MIB,
        lease_seconds=600,
        label="Separation of song 1",
        limit=1200 * MIB,
    )
    ConcurrentOperationLimiter().renew(reservation.pk, observed_bytes=300 * MIB)
    return reservation


def line_of(page: Page) -> str:
    return page.locator(".live-operation .live-line").get_attribute("points") or ""


def look(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/admin/memory/live/")
    expect(page.locator("#live-updated")).to_contain_text("Updated")


def test_the_page_is_linked_from_the_admins_index(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/admin/")
    page.get_by_role("link", name="Live memory", exact=True).first.click()
    expect(page.get_by_role("heading", name="Running operations")).to_be_visible()


def test_a_running_operations_line_moves_without_a_reload(
    page: Page, live_server: LiveServer, running: Reservation, problems: list[str]
) -> None:
    look(page, live_server)
    expect(page.locator(".live-numbers")).to_contain_text("300 MB now, peak 300 MB, estimate 900 MB, limit 1.2 GB")
    before = line_of(page)
    ConcurrentOperationLimiter().renew(running.pk, observed_bytes=700 * MIB)
    expect(page.locator(".live-numbers")).to_contain_text("700 MB now")
    assert line_of(page) != before
    assert problems == []


def test_the_machines_history_is_drawn(page: Page, live_server: LiveServer) -> None:
    for _ in range(2):
        sample_host_and_processes()
    look(page, live_server)
    drawing = page.locator("#live-host .live-history")
    expect(drawing).to_have_attribute("aria-label", re.compile("Memory in use over the last [0-9]+ s"))
    assert len((drawing.locator(".live-line").get_attribute("points") or "").split()) == 2


def test_an_operation_that_ends_leaves_the_page(page: Page, live_server: LiveServer, running: Reservation) -> None:
    look(page, live_server)
    expect(page.locator(".live-operation")).to_have_count(1)
    ConcurrentOperationLimiter().release(running.pk)
    expect(page.locator(".live-operation")).to_have_count(0)
    expect(page.get_by_text("Nothing runs.")).to_be_visible()


def test_an_incident_appears_and_is_announced(page: Page, live_server: LiveServer) -> None:
    look(page, live_server)
    record_incident(IncidentKind.MEMORY_LIMIT, operation_key="song-1", message="it reached <1.2 GB>")
    expect(page.locator("#live-incidents")).to_contain_text("it reached <1.2 GB>")
    expect(page.locator("#live-news")).to_contain_text("New incident: operation over its limit")


def test_what_waits_is_shown_with_its_reason(
    page: Page, live_server: LiveServer, running: Reservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Candidate("song-2", 10**15, waiting_since=running.created_at, label="Separation of song 2")
    monkeypatch.setattr(live, "_queue_sources", [lambda: [waiting]])
    look(page, live_server)
    expect(page.locator("#live-queue")).to_contain_text("Separation of song 2needs 931322.6 GB, more than the")


def test_a_process_that_takes_no_work_says_why(page: Page, live_server: LiveServer) -> None:
    host = Host.objects.create(name="elsewhere", last_seen=Now() - timedelta(seconds=5))
    ServiceProcess.objects.create(host=host, role="web", pid=7, accepting=False, reason="it holds 3.0 GB")
    look(page, live_server)
    expect(page.locator("#live-processes")).to_contain_text("web 7")
    expect(page.locator("#live-processes")).to_contain_text("takes no work: it holds 3.0 GB")


def test_pausing_stops_the_updates_until_continued(page: Page, live_server: LiveServer, running: Reservation) -> None:
    look(page, live_server)
    page.get_by_role("button", name="Pause").press("Enter")
    ConcurrentOperationLimiter().release(running.pk)
    page.wait_for_timeout(2500)
    expect(page.locator(".live-operation")).to_have_count(1)
    page.get_by_role("button", name="Continue").press("Enter")
    expect(page.locator(".live-operation")).to_have_count(0)


def test_whoever_was_logged_out_is_told_so(page: Page, live_server: LiveServer) -> None:
    look(page, live_server)
    page.context.clear_cookies()
    expect(page.get_by_role("alert")).to_contain_text("You are logged out")


def test_nothing_is_cut_off_on_a_narrow_screen(
    page: Page, live_server: LiveServer, running: Reservation, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    look(page, live_server)
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#live *')].map(e => e.getBoundingClientRect().right))"
    )
    assert widest <= 375


FORGET = """
from separation.models import Track
from separation.services import delete_track
for track in Track.objects.filter(original_name="Song.wav"): delete_track(track)
answer = None
"""


@pytest.fixture
def long_song(site: Site, tmp_path: Path) -> Iterator[Path]:
    """Six minutes of music; afterwards the site knows nothing of it."""
    yield write_song(tmp_path / "long.wav", seconds=360)
    site.python(FORGET)


@pytest.mark.slow
def test_a_real_job_draws_its_line_and_a_killed_one_becomes_an_incident(
    open_page: OpenPage, site: Site, long_song: Path
) -> None:
    page = at_home(open_page(), site)
    page.goto(f"{site.url}/admin/memory/live/")
    expect(page.locator("#live-processes")).to_contain_text("Worker", ignore_case=True)
    site.submit(long_song)
    line = page.locator(".live-operation").filter(has_text="separate for").locator(".live-line").first
    expect(line).to_be_visible()
    wait_for(lambda: len(heights(line.get_attribute("points") or "")) > 2, 60, "the line to move")
    engines_below(site.processes[0])[0].kill()
    expect(page.locator("#live-incidents")).to_contain_text("operation killed from outside", ignore_case=True)
    if os.environ.get("STEMSITE_SCREENSHOT") == "1":
        site.submit(long_song)
        expect(line).to_be_visible()
        page.wait_for_timeout(6000)
        page.set_viewport_size({"width": 1200, "height": 1300})
        page.screenshot(path=ROOT / "docs" / "live-memory.png")


def heights(points: str) -> set[str]:
    """The different values a line goes through."""
    return {point.split(",")[1] for point in points.split()}
