"""What happens to a page whose session, connection or server goes away under it, in a real browser."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.actions import choose, positions, throttle, wait_until
from tests.browser.conftest import OpenPage, at_home, log_in
from tests.browser.site import Site, write_song

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def begin(page: Page, song: Path) -> Locator:
    """Upload part of a song, and pause; returns its card."""
    throttle(page, 2_000_000)
    choose(page, song)
    wait_until(page, "document.querySelector('[data-progress]').value > 0.2")
    page.get_by_role("button", name="Pause").click()
    throttle(page, -1)
    return page.locator(".file-card")


def creations(page: Page) -> list[str]:
    """The addresses of the requests for a new upload, as they come."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if request.method == "POST" else None)
    return found


def assert_arrived_whole(card: Locator, site: Site, song: Path) -> None:
    expect(card.locator(".status")).to_have_text("Uploaded")
    newest = card.page.request.get(f"{site.url}/api/v1/tracks/").json()["results"][0]
    assert newest["sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()


def log_out(page: Page) -> Page:
    """Log out in another tab, and leave it there."""
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/login/")
    return other


def test_an_upload_goes_on_after_logging_in_again(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Session.wav", 60, seed=11)
    card = begin(page, song)
    other = log_out(page)
    again = creations(page)
    page.get_by_role("button", name="Resume").click()
    expect(card.locator(".error")).to_contain_text("Log in again in another tab")
    log_in(other, site)
    page.get_by_role("button", name="Try again").click()
    assert_arrived_whole(card, site, song)
    assert not any("/uploads/" in url for url in again)


BAD_GATEWAY = {"status": 502, "content_type": "text/html", "body": "<h1>Bad Gateway</h1>"}


def answer(page: Page, method: str, times: int, **response: Any) -> list[str]:
    """Answer the next requests of that kind about an upload without the server; returns them as they come."""
    answered: list[str] = []

    def handle(route: Route) -> None:
        if route.request.method != method or len(answered) == times:
            return route.fallback()
        answered.append(route.request.url)
        return route.fulfill(**response)

    page.route("**/api/v1/uploads/*/", handle)
    return answered


def test_an_upload_keeps_its_place_while_a_proxy_answers_for_the_server(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Proxy.wav", 60, seed=12)
    card = begin(page, song)
    asked, sent = answer(page, "HEAD", 2, **BAD_GATEWAY), answer(page, "PATCH", 1, **BAD_GATEWAY)
    again = creations(page)
    page.get_by_role("button", name="Resume").click()
    assert_arrived_whole(card, site, song)
    assert (len(asked), len(sent)) == (2, 1)
    assert not any("/uploads/" in url for url in again)


def test_a_whole_upload_that_a_busy_server_has_not_read_can_be_tried_again(
    page: Page, site: Site, tmp_path: Path
) -> None:
    answer(page, "GET", 1, json={"state": "receiving", "track": None, "problem": None})
    song = write_song(tmp_path / "Busy.wav", 1, seed=13)
    choose(page, song)
    card = page.locator(".file-card")
    expect(card.locator(".error")).to_contain_text("too busy to read it")
    page.get_by_role("button", name="Try again").click()
    assert_arrived_whole(card, site, song)


def test_an_upload_that_was_given_up_goes_on_when_the_connection_is_back(
    page: Page, site: Site, tmp_path: Path
) -> None:
    answer(page, "GET", 1, json={"state": "receiving", "track": None, "problem": None})
    song = write_song(tmp_path / "Back.wav", 1, seed=18)
    choose(page, song)
    card = page.locator(".file-card")
    expect(card.get_by_role("button", name="Try again")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('online'))")
    assert_arrived_whole(card, site, song)


def test_what_became_of_an_upload_is_asked_again_over_a_lost_connection(page: Page, site: Site, tmp_path: Path) -> None:
    asked = answer(page, "GET", 2, **BAD_GATEWAY)
    song = write_song(tmp_path / "Asked.wav", 1, seed=19)
    choose(page, song)
    assert_arrived_whole(page.locator(".file-card"), site, song)
    assert len(asked) == 2


NERVOUS = """files => new MutationObserver((_, observer) => {
  const button = files.querySelector(".file-card [data-pause]");
  if (!button) return;
  observer.disconnect();
  for (let i = 0; i < 4; i++) button.click();
}).observe(files, { childList: true })"""


def test_pausing_and_going_on_again_and_again_begins_one_upload(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Nervous.wav", 5, seed=33)
    asked = creations(page)
    page.locator("#files").evaluate(NERVOUS)
    choose(page, song)
    assert_arrived_whole(page.locator(".file-card"), site, song)
    assert len([url for url in asked if "/uploads/" in url]) == 1


def test_a_file_on_its_way_is_not_taken_again(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Twice.wav", 60, seed=31)
    card = begin(page, song)
    choose(page, song)
    expect(page.locator("#messages")).to_have_text("Twice.wav is being uploaded already.")
    expect(card).to_have_count(1)


def test_a_file_on_its_way_in_one_tab_is_left_alone_by_another(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Tabs.wav", 60, seed=32)
    card = begin(page, song)
    other = page.context.new_page()
    other.goto(page.url)
    asked: list[str] = []
    other.on("request", lambda request: asked.append(request.url) if "/uploads/" in request.url else None)
    choose(other, song)
    expect(other.locator(".file-card .status")).to_have_text(
        "This file is being uploaded in another tab. Separate it there."
    )
    other.get_by_role("button", name="Cancel this upload").click()
    expect(other.locator(".file-card")).to_have_count(0)
    again = creations(page)
    page.get_by_role("button", name="Resume").click()
    assert_arrived_whole(card, site, song)
    assert not any("/uploads/" in url for url in asked + again)


def test_a_file_that_is_gone_is_not_called_a_lost_connection(page: Page, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Gone.wav", 60, seed=14)
    card = begin(page, song)
    song.unlink()
    page.get_by_role("button", name="Resume").click()
    expect(card.locator(".error")).to_contain_text("The file cannot be read.")
    expect(card.locator(".status")).to_have_text("Not taken")


def test_a_file_that_came_back_goes_on_where_it_was_though_its_first_card_is_removed(
    page: Page, site: Site, tmp_path: Path
) -> None:
    song, away = write_song(tmp_path / "Disk.wav", 60, seed=17), tmp_path / "away"
    first = begin(page, song)
    again = creations(page)
    song.rename(away)
    page.get_by_role("button", name="Resume").click()
    expect(first.locator(".status")).to_have_text("Not taken")
    away.rename(song)
    throttle(page, 2_000_000)
    choose(page, song)
    page.locator(".file-card.refused").get_by_role("button", name="Remove").click()
    throttle(page, -1)
    assert_arrived_whole(page.locator(".file-card"), site, song)
    assert not any("/uploads/" in url for url in again)


def test_an_upload_can_be_cancelled_without_a_connection(page: Page, tmp_path: Path) -> None:
    card = begin(page, write_song(tmp_path / "Offline.wav", 60, seed=15))
    page.route("**/api/v1/uploads/*/", lambda route: route.abort("internetdisconnected"))
    page.get_by_role("button", name="Cancel this upload").click()
    expect(card).to_have_count(0)


def test_a_file_that_is_paused_lets_the_next_one_begin(page: Page, tmp_path: Path) -> None:
    throttle(page, 200_000)
    choose(page, *(write_song(tmp_path / f"Song {number}.wav", 20, seed=number) for number in (21, 22, 23)))
    cards = page.locator(".file-card")
    expect(cards.nth(1).get_by_role("button", name="Pause")).to_be_visible()
    expect(cards.nth(2).get_by_role("button", name="Pause")).to_be_hidden()
    cards.nth(0).get_by_role("button", name="Pause").click()
    expect(cards.nth(2).get_by_role("button", name="Pause")).to_be_visible()


@pytest.fixture
def answered(page: Page, tmp_path: Path) -> Page:
    """Three uploaded files, and a server that takes every job."""
    page.route("**/api/v1/jobs/", lambda route: route.fulfill(status=202, json={"id": "some", "reused": False}))
    choose(page, *(write_song(tmp_path / f"Song {number}.wav", 1, seed=number) for number in (41, 42, 43)))
    expect(page.locator(".file-card .status", has_text="Uploaded")).to_have_count(3)
    return page


def test_the_keyboard_stays_on_the_cards_when_its_button_goes(answered: Page) -> None:
    answered.get_by_role("button", name="Take off this list; the track is kept Song 41.wav").press("Enter")
    expect(answered.get_by_role("article", name="Song 42.wav")).to_be_focused()
    expect(answered.locator("#announce")).to_have_text("Song 41.wav was taken off this list; the track is kept.")
    answered.get_by_role("button", name="Separate Song 42.wav").press("Enter")
    expect(answered.get_by_role("link", name="Open Song 42.wav")).to_be_focused()
    expect(answered.locator("#announce")).to_have_text("Song 42.wav: Sent")


def test_all_that_was_sent_at_once_can_be_followed(answered: Page) -> None:
    answered.get_by_role("button", name="Separate all 3").press("Enter")
    expect(answered.locator("#files")).to_be_focused()
    expect(answered.locator(".file-card .status", has_text="Sent")).to_have_count(3)
    answered.get_by_role("link", name="Follow them under Jobs").click()
    answered.wait_for_url("**/jobs/")


def test_the_keyboard_stays_on_a_card_that_is_refused_or_not_sent(page: Page, tmp_path: Path) -> None:
    empty = tmp_path / "Empty.wav"
    empty.touch()
    choose(page, empty)
    expect(page.get_by_role("article", name="Empty.wav")).to_be_focused()
    page.get_by_role("button", name="Remove Empty.wav").press("Enter")
    page.route("**/api/v1/jobs/", lambda route: route.abort("internetdisconnected"))
    choose(page, write_song(tmp_path / "Song.wav", 1, seed=44))
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    page.get_by_role("button", name="Separate Song.wav").press("Enter")
    expect(page.locator(".file-card .error")).to_contain_text("cannot be reached")
    expect(page.get_by_role("button", name="Separate Song.wav")).to_be_focused()


def test_a_job_done_before_is_said_to_be_before_it_opens(page: Page, site: Site, tmp_path: Path) -> None:
    page.route("**/api/v1/jobs/", lambda route: route.fulfill(json={"id": "some", "reused": True}))
    choose(page, write_song(tmp_path / "Known.wav", 1, seed=45))
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    page.get_by_role("button", name="Separate Known.wav").press("Enter")
    expect(page.locator(".file-card .status")).to_have_text("Done before with the same options")
    expect(page.get_by_role("link", name="Open Known.wav")).to_be_focused()
    assert page.url == f"{site.url}/"


def drop_paths(page: Page, *paths: Path) -> None:
    """Drop files and folders as a file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def test_a_dropped_folder_gives_the_music_in_it(page: Page, tmp_path: Path) -> None:
    for folder in ("Album/Second disc", "Empty"):
        (tmp_path / folder).mkdir(parents=True)
    write_song(tmp_path / "Album" / "One.wav", 1)
    write_song(tmp_path / "Album" / "Second disc" / "Two.wav", 1)
    (tmp_path / "Album" / "cover.txt").write_text("no music")
    drop_paths(page, tmp_path / "Album", tmp_path / "Empty")
    expect(page.locator(".file-card .status", has_text="Uploaded")).to_have_count(2)
    assert sorted(page.locator(".file-card h2").all_inner_texts()) == ["One.wav", "Two.wav"]
    expect(page.locator("#messages")).to_contain_text("There is no music in the folder Empty")


def test_a_job_is_followed_again_after_logging_in(page: Page, finished: str) -> None:
    def unfinish(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('data-state="succeeded"', 'data-state="running"'))

    page.route(finished, unfinish, times=1)
    page.route("**/api/v1/jobs/*/", lambda route: route.fulfill(status=401, json={"detail": "Sign in."}), times=1)
    page.goto(finished)
    expect(page.locator("[data-trouble]")).to_contain_text("Log in again in another tab")
    expect(page.locator("#job[data-state=succeeded]")).to_be_visible()


@pytest.fixture
def streaming(open_page: OpenPage, site: Site) -> Page:
    """A page whose stems are streamed, as long ones are."""
    page = open_page()
    page.add_init_script("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
    return at_home(page, site)


def test_a_stem_that_could_not_be_fetched_is_not_called_unplayable_and_plays_later(
    streaming: Page, finished: str
) -> None:
    streaming.goto(finished)
    vocals = streaming.locator(".lane.vocals audio").get_attribute("src")
    streaming.route(f"**{vocals}", lambda route: route.abort("internetdisconnected"))
    streaming.get_by_role("button", name="Play").click()
    expect(streaming.locator("[data-trouble]")).to_have_text(
        "The connection was lost. Press Play to go on once it is back."
    )
    streaming.unroute(f"**{vocals}")
    streaming.get_by_role("button", name="Play").click()
    wait_until(streaming, "[...document.querySelectorAll('audio')].every((audio) => audio.currentTime > 0.5)")
    expect(streaming.locator("[data-trouble]")).to_be_hidden()


def test_a_stem_that_is_gone_is_said_to_be(streaming: Page, finished: str) -> None:
    streaming.goto(finished)
    vocals = streaming.locator(".lane.vocals audio").get_attribute("src")
    streaming.route(f"**{vocals}", lambda route: route.fulfill(status=404))
    streaming.get_by_role("button", name="Play").click()
    expect(streaming.locator("[data-trouble]")).to_contain_text("“Vocals” is no longer on the server")


def test_the_player_stops_when_no_stem_is_left(streaming: Page, finished: str) -> None:
    streaming.goto(finished)
    streaming.route("**/audio?inline=1", lambda route: route.fulfill(status=404))
    streaming.get_by_role("button", name="Play").click()
    expect(streaming.locator("[data-trouble]")).to_contain_text("no longer on the server")
    expect(streaming.get_by_role("button", name="Play")).to_be_visible()


def test_pause_while_the_stems_still_load_keeps_them_silent(streaming: Page, finished: str) -> None:
    streaming.goto(finished)
    held: list[Route] = []
    streaming.route("**/audio?inline=1", lambda route: held.append(route))
    streaming.get_by_role("button", name="Play").click()
    while len(held) < 4:
        streaming.wait_for_timeout(50)
    streaming.get_by_role("button", name="Pause").click()
    for route in held:
        route.fallback()
    wait_until(streaming, "[...document.querySelectorAll('audio')].every((audio) => audio.readyState > 2)")
    streaming.wait_for_timeout(300)
    assert positions(streaming) == [0.0] * 4


def test_the_list_of_jobs_asks_to_log_in_when_the_session_has_ended(page: Page, site: Site, finished: str) -> None:
    def unfinish(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"state succeeded"', '"state running"'))

    page.route("**/jobs/", unfinish, times=1)
    page.goto(f"{site.url}/jobs/")
    expect(page.locator("a.item .running").first).to_be_visible()
    log_out(page)
    page.wait_for_url("**/login/?next=/jobs/")


def test_a_form_that_was_open_before_a_login_elsewhere_is_taken(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/account/")
    log_in(log_out(page), site)
    page.get_by_label("Name").fill("From before")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_role("cell", name="From before", exact=True)).to_be_visible()
