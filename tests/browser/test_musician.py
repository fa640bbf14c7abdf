"""A musician's way through the site in a real browser: from the first start to stems that play."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from memory.quantities import format_bytes
from tests.browser.actions import choose, drop, positions, throttle, wait_until
from tests.browser.conftest import (
    ARGUMENTS,
    DESKTOP,
    JOB_SECONDS,
    PASSWORD,
    PHONE,
    USER,
    OpenPage,
    at_home,
    chromium_program,
    log_in,
)
from tests.browser.site import ROOT, Site, write_song

pytestmark = [pytest.mark.browser, pytest.mark.slow]
STEMS = ["vocals", "drums", "bass", "other"]


def test_the_first_start_asks_for_the_code_and_makes_the_account(
    tmp_path: Path, open_page: OpenPage, problems: list[str]
) -> None:
    with Site(tmp_path) as fresh:
        fresh.start_web()
        page = open_page()
        page.goto(f"{fresh.url}/jobs/")
        assert page.url == f"{fresh.url}/setup/"
        expect(page.get_by_label("Setup code")).to_be_focused()
        page.get_by_label("Setup code").fill(fresh.setup_code())
        page.get_by_label("Username").fill(USER)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Password, once more").fill(PASSWORD)
        page.get_by_role("button", name="Make the account").click()
        expect(page.get_by_role("heading", name="Take a song apart")).to_be_visible()
        assert fresh.manage("setup_code").stdout == ""
        assert problems == []


def test_a_dropped_song_becomes_stems_without_a_reload(page: Page, site: Site, song: Path, problems: list[str]) -> None:
    drop(page, song)
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    expect(page.locator(".file-card .estimate")).to_contain_text("of memory")
    page.get_by_role("button", name="Separate").click()
    page.wait_for_url("**/jobs/*")
    page.evaluate("window.sameDocument = true")
    expect(page.locator(".heading")).to_contain_text("Starter")
    expect(page.locator("#mixer .lane")).to_have_count(4, timeout=JOB_SECONDS)
    assert page.evaluate("window.sameDocument") is True
    assert page.locator(".lane").evaluate_all("(lanes) => lanes.map((lane) => lane.dataset.stem)") == STEMS
    assert problems == []


def test_progress_is_in_the_title_and_the_live_region(page: Page, site: Site, tmp_path: Path) -> None:
    choose(page, write_song(tmp_path / "Long.wav", 150, seed=2))
    page.get_by_role("button", name="Separate").click()
    page.wait_for_url("**/jobs/*")
    wait_until(page, "/^[1-9][0-9]? % · Long · Stemsite$/.test(document.title)")
    expect(page.locator("#announce")).to_contain_text("%")
    expect(page.locator("[data-memory-text]")).to_contain_text("now, peak")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#confirm")).not_to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator(".state.cancelled")).to_be_visible()


def test_the_stems_play_together_and_can_be_mixed(page: Page, finished: str, problems: list[str]) -> None:
    page.goto(finished)
    page.get_by_role("button", name="Play").click()
    wait_until(page, "[...document.querySelectorAll('audio')].every((audio) => audio.currentTime > 1.2)")
    assert max(positions(page)) - min(positions(page)) < 0.2
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Solo Drums").click()
    silent = page.locator(".lane.silent")
    assert silent.evaluate_all("(lanes) => lanes.map((lane) => lane.dataset.stem)") == ["vocals", "bass", "other"]
    page.get_by_label("Position").fill("3")
    assert positions(page) == [3.0] * 4
    assert problems == []


@pytest.mark.parametrize("place", ["h1", "[data-volume] >> nth=0"], ids=["page", "slider"])
def test_the_space_bar_plays_and_pauses(page: Page, finished: str, place: str) -> None:
    page.goto(finished)
    page.locator(place).click()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_the_arrow_keys_seek_by_seconds(page: Page, finished: str) -> None:
    page.goto(finished)
    wait_until(page, "document.querySelector('[data-mixer-ready]') !== null")
    position = page.get_by_label("Position")
    position.focus()
    for key, seconds in (("ArrowRight", 5), ("ArrowLeft", 0), ("ArrowLeft", 0), ("PageUp", None), ("Home", 0)):
        page.keyboard.press(key)
        length = float(position.get_attribute("max") or "")
        assert float(position.input_value()) == pytest.approx(min(30, length) if seconds is None else seconds, abs=0.02)


def test_every_control_of_the_mixer_can_be_reached_by_keyboard(page: Page, finished: str) -> None:
    page.goto(finished)
    wait_until(page, "document.querySelector('[data-mixer-ready]') !== null")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText.trim()"))
    assert reached[0] == "Skip to the content"
    wanted = ["Play", "Position", "Mute Bass", "Solo Bass", "Volume of Bass", "All stems (zip)", "Delete"]
    assert [name for name in wanted if name not in " | ".join(reached).replace("\n", " ")] == []


COUNT_DECODED = """
window.decoded = 0;
const decode = BaseAudioContext.prototype.decodeAudioData;
BaseAudioContext.prototype.decodeAudioData = function (content) {
  window.decoded += 1;
  return decode.call(this, content);
};
"""


@pytest.mark.parametrize("seconds, decoded", [("900.00", 4), ("901.00", 0)])
def test_long_stems_play_from_the_page_but_are_not_decoded_in_it(
    page: Page, finished: str, seconds: str, decoded: int
) -> None:
    page.add_init_script(COUNT_DECODED)
    page.route(finished, lambda route: lengthen(route, seconds))
    page.goto(finished)
    wait_until(page, "[...document.querySelectorAll('.lane audio')].every((audio) => audio.src.startsWith('blob:'))")
    wait_until(page, f"window.decoded >= {decoded}")
    page.wait_for_timeout(500)
    assert page.evaluate("window.decoded") == decoded


def lengthen(route: Route, seconds: str) -> None:
    """Answer with the page of a job, each stem of which is so long."""
    answer = route.fetch()
    route.fulfill(response=answer, body=re.sub(r'data-seconds="[\d.]+"', f'data-seconds="{seconds}"', answer.text()))


def test_scripts_and_server_word_sizes_alike(page: Page) -> None:
    sizes = [0, 1023, 1024, 5 * 1024**2 + 1, 1023 * 1024**2, 1024**3, 20 * 1024**3]
    worded = page.evaluate(
        "async (sizes) => { const { bytes } = await import('/static/js/wording.js'); return sizes.map(bytes); }", sizes
    )
    assert worded == [format_bytes(size) for size in sizes]


def test_a_downloaded_stem_has_the_bytes_that_were_made(page: Page, finished: str) -> None:
    page.goto(finished)
    job = page.request.get(finished.replace("/jobs/", "/api/v1/jobs/") + "/").json()
    wanted = {stem["filename"]: stem["sha256"] for stem in job["stems"]}
    for lane in page.locator(".lane a.get").all():
        with page.expect_download() as download:
            lane.click()
        content = Path(download.value.path()).read_bytes()
        assert wanted.pop(download.value.suggested_filename) == hashlib.sha256(content).hexdigest()
    assert wanted == {}


def test_a_file_that_is_no_music_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "notes & <b>.mp3"
    bad.write_text("dear diary")
    choose(page, bad)
    expect(page.locator(".file-card .error")).to_contain_text("No audio could be read")
    expect(page.locator(".file-card h2")).to_have_text("notes & <b>.mp3")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".file-card")).to_have_count(0)


def test_an_upload_pauses_resumes_and_arrives_whole(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Big.wav", 60, seed=3)
    throttle(page, 2_000_000)
    choose(page, song)
    wait_until(page, "document.querySelector('[data-progress]').value > 0.1")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".file-card .status")).to_have_text("Paused")
    throttle(page, -1)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    newest = page.request.get(f"{site.url}/api/v1/tracks/").json()["results"][0]
    assert newest["sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()


def test_an_upload_goes_on_after_the_page_was_closed(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Closed.wav", 60, seed=4)
    throttle(page, 2_000_000)
    choose(page, song)
    wait_until(page, "document.querySelector('[data-progress]').value > 0.2")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{site.url}/jobs/")
    page.goto(site.url)
    throttle(page, -1)
    created: list[str] = []
    page.on("request", lambda request: created.append(request.url) if request.method == "POST" else None)
    choose(page, song)
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    assert not any("/uploads/" in url for url in created)
    newest = page.request.get(f"{site.url}/api/v1/tracks/").json()["results"][0]
    assert newest["sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()


def test_an_upload_goes_on_by_itself_after_the_server_was_killed(page: Page, site: Site, tmp_path: Path) -> None:
    song = write_song(tmp_path / "Train.wav", 60, seed=7)
    throttle(page, 2_000_000)
    choose(page, song)
    wait_until(page, "document.querySelector('[data-progress]').value > 0.1")
    site.kill_web()
    try:
        expect(page.locator(".file-card .status")).to_contain_text("The connection was lost")
    finally:
        site.start_web()
    throttle(page, -1)
    expect(page.locator(".file-card .status")).to_have_text("Uploaded")
    newest = page.request.get(f"{site.url}/api/v1/tracks/").json()["results"][0]
    assert newest["sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()


def test_several_files_are_sent_with_one_button(page: Page, song: Path, tmp_path: Path) -> None:
    choose(page, song, write_song(tmp_path / "Other.wav", 2, seed=5))
    expect(page.locator(".file-card .status", has_text="Uploaded")).to_have_count(2)
    first = page.locator(".file-card").first
    first.locator("summary").click()
    first.get_by_label("Chosen stems").check()
    first.get_by_label("Bass", exact=True).check()
    expect(first.locator("summary")).to_contain_text("bass")
    expect(page.locator(".file-card").nth(1).locator("summary")).to_contain_text("all stems")
    page.get_by_role("button", name="Separate all 2").click()
    expect(page.get_by_role("link", name="Open")).to_have_count(2)


def test_without_scripts_a_song_is_uploaded_and_its_stems_play(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    page = log_in(open_page(java_script_enabled=False), site)
    choose(page, write_song(tmp_path / "Plain.wav", 1, seed=6))
    page.get_by_role("button", name="Separate").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("audio[controls]")).to_have_count(4, timeout=JOB_SECONDS)
    expect(page.locator("audio[controls]").first).to_be_visible()
    expect(page.get_by_role("button", name="Mute")).to_have_count(0)


def test_the_demo_song_done_before_is_there_at_once(page: Page, finished: str) -> None:
    page.get_by_role("button", name="Try the demo song").click()
    page.wait_for_url("**/jobs/*")
    assert page.url == finished


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_is_wider_than_the_screen(
    page: Page, site: Site, finished: str, viewport: dict[str, int], scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(viewport)  # type: ignore[arg-type]
    token = {"name": "Laptop", "scopes": ["read"]}
    headers = {"X-CSRFToken": page.locator("meta[name=csrf-token]").get_attribute("content") or ""}
    page.request.post(f"{site.url}/api/v1/tokens/", data=token, headers=headers)
    for address in (site.url, f"{site.url}/jobs/", f"{site.url}/tracks/", f"{site.url}/account/", finished):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address


@pytest.fixture
def large_text(chromium: Browser, site: Site, tmp_path: Path) -> Iterator[Page]:
    """A phone whose owner has doubled the size of text."""
    preferences = tmp_path / "Default" / "Preferences"
    preferences.parent.mkdir()
    preferences.write_text(json.dumps({"webkit": {"webprefs": {"default_font_size": 32}}}))
    context = chromium.browser_type.launch_persistent_context(
        tmp_path, executable_path=chromium_program(), args=ARGUMENTS, viewport={"width": 360, "height": 740}
    )
    yield at_home(context.new_page(), site)
    context.close()


def test_large_text_fits_on_a_phone(large_text: Page, site: Site, finished: str, song: Path) -> None:
    choose(large_text, song)
    assert large_text.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    for address in (finished, f"{site.url}/jobs/", f"{site.url}/tracks/", f"{site.url}/account/"):
        large_text.goto(address)
        assert large_text.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address
    large_text.goto(finished)
    hidden = "(names) => names.filter((name) => name.scrollWidth > name.clientWidth).map((name) => name.innerText)"
    assert large_text.locator(".lane h2").evaluate_all(hidden) == []


def test_forced_colours_show_what_is_pressed_and_what_is_current(page: Page, site: Site, finished: str) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(finished)
    page.get_by_role("button", name="Mute Vocals").click()
    ground = "(parts) => parts.map((part) => getComputedStyle(part).backgroundColor)"
    pressed, other = page.locator("[data-mute]").evaluate_all(ground)[:2]
    assert pressed != other
    page.goto(f"{site.url}/jobs/")
    current, other = page.locator(".filters a").evaluate_all(ground)[:2]
    assert current != other


def test_the_page_of_a_finished_job_can_be_shown_in_the_readme(page: Page, finished: str, tmp_path: Path) -> None:
    """STEMSITE_SCREENSHOT=1 keeps the picture as docs/screenshot.png."""
    folder = ROOT / "docs" if os.environ.get("STEMSITE_SCREENSHOT") == "1" else tmp_path
    folder.mkdir(exist_ok=True)
    page.goto(finished)
    wait_until(page, "document.querySelector('[data-mixer-ready]') !== null")
    page.get_by_label("Position").fill("9")
    page.get_by_role("button", name="Play").click()
    wait_until(page, "document.querySelector('audio').currentTime > 9.5")
    assert page.screenshot(path=folder / "screenshot.png").startswith(b"\x89PNG")


def test_the_list_of_jobs_follows_them_without_a_reload(page: Page, site: Site, tmp_path: Path) -> None:
    choose(page, write_song(tmp_path / "Followed.wav", 20, seed=8))
    page.get_by_role("button", name="Separate").click()
    page.wait_for_url("**/jobs/*")
    page.goto(f"{site.url}/jobs/")
    page.evaluate("window.sameDocument = true")
    item = page.locator("a.item", has_text="Followed.wav")
    expect(item.locator(".state.succeeded")).to_have_text("Succeeded", timeout=JOB_SECONDS)
    expect(page.locator("#announce")).to_contain_text("Followed.wav: Succeeded")
    assert page.evaluate("window.sameDocument") is True


def test_moments_are_shown_in_the_time_of_whoever_looks(open_page: OpenPage, site: Site, finished: str) -> None:
    page = at_home(open_page(timezone_id="Asia/Tokyo", locale="en-US"), site)
    page.goto(finished)
    page.get_by_text("Details").click()
    shown = page.locator("time[data-at]").first
    expect(shown).to_have_attribute("title", re.compile(" UTC$"))
    moment = datetime.fromisoformat(shown.get_attribute("datetime") or "")
    there = moment.astimezone(ZoneInfo("Asia/Tokyo"))
    assert f"{there:%b} {there.day}, {there.year}, {there.hour % 12 or 12}:{there:%M:%S}" in shown.inner_text()
