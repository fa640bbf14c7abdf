"""What visitors do and what is waited for, beyond what Playwright has words for."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import Page

from tests.acceptance.instance import wait_for


def drop(page: Page, file: Path) -> None:
    """Drop a file on the page, as from a file manager."""
    content = base64.b64encode(file.read_bytes()).decode()
    page.evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
            const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(kind, how));
        }""",
        [file.name, content],
    )


def choose(page: Page, *files: Path) -> None:
    page.locator("input[type=file]").set_input_files([str(file) for file in files])


def wait_until(page: Page, expression: str, seconds: float = 120) -> None:
    """As `wait_for_function`, which the pages' content security policy forbids."""
    wait_for(lambda: page.evaluate(expression), seconds, expression)


def positions(page: Page) -> list[float]:
    return page.evaluate("[...document.querySelectorAll('audio')].map((audio) => audio.currentTime)")


def throttle(page: Page, bytes_per_second: int) -> None:
    session = page.context.new_cdp_session(page)
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second},
    )
