"""A real Chromium, and a whole instance for it to visit. Skipped with a reason where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.site import Site, write_song

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--autoplay-policy=no-user-gesture-required",
]
USER, PASSWORD = "ada", "correct horse battery"
JOB_SECONDS = 180_000  # milliseconds
DESKTOP, PHONE = {"width": 1200, "height": 820}, {"width": 375, "height": 740}
PATIENCE = 120_000  # milliseconds for each step, which a busy machine may need
expect.set_options(timeout=PATIENCE)


def chromium_program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = chromium_program()
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An instance as `make run` makes it, with one user: web server, workers, reaper, the starter model."""
    with Site(tmp_path_factory.mktemp("site")) as running:
        running.add_user(USER, PASSWORD)
        running.start("work")
        running.start("reap")
        running.start_web()
        yield running


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_song(tmp_path_factory.mktemp("songs") / "Night bus.wav")


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained about: script errors, and refusals of the content security policy."""
    return []


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, problems: list[str]) -> Iterator[OpenPage]:
    """`open_page(**context_options)`: a page in a browser that knows nothing yet."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> Page:
        context = chromium.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        return page

    yield open_one
    for context in contexts:
        context.close()


def log_in(page: Page, site: Site) -> Page:
    page.goto(f"{site.url}/login/")
    page.get_by_label("Username").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{site.url}/")
    return page


def let_in(page: Page, server: LiveServer, user: User) -> Page:
    """Log in where the server runs in the test's process: without the form."""
    client = Client()
    client.force_login(user)
    return _with_session(page, server.url, client.cookies["sessionid"].value)


def at_home(page: Page, site: Site) -> Page:
    """Log in without the form, and go where it leads."""
    _with_session(page, site.url, site.session(USER)).goto(f"{site.url}/")
    return page


def _with_session(page: Page, url: str, session: str) -> Page:
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": url}])
    return page


@pytest.fixture(scope="module")
def beside_playwright() -> Iterator[None]:
    """Playwright's loop runs in this thread, Django's calls do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def page(open_page: OpenPage, site: Site) -> Page:
    """A page of the user who is logged in."""
    return at_home(open_page(), site)


@pytest.fixture(scope="module")
def finished(site: Site, chromium: Browser) -> str:
    """The address of a job that has its stems: the demo song's."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = at_home(context.new_page(), site)
    page.get_by_role("button", name="Try the demo song").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#mixer")).to_be_visible(timeout=JOB_SECONDS)
    context.close()
    return page.url
