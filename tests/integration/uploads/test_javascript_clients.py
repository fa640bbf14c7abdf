"""tus-js-client in Node and Uppy in Chromium upload as they are; checksums are compared end to end."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.integration.uploads.live import ROOT, LiveServer, Wire
from tests.integration.uploads.sounds import wav_bytes

CLIENTS = ROOT / "tests" / "clients"
DATA = wav_bytes(1.0) + random.Random(3).randbytes(5 * 1024 * 1024)
TIMES = 20
LONG = DATA * TIMES
"""The same again and again behind the first header: 100 MB that a probe reads as audio."""
PIECE = 1024 * 1024
HINT = "run `npm install --prefix tests/clients`"


def needs_package(name: str) -> None:
    """Skips, with the reason, where Node or the package is absent."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    if not (CLIENTS / "node_modules" / name).is_dir():
        pytest.skip(f"the npm package {name} is not installed: {HINT}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("live"))
    server.prepare()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def wire(server: LiveServer) -> Wire:
    return Wire(server, server.add_user("owner"))


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(DATA)
    return path


def node(wire: Wire, song: Path, pauses: int = 0, piece: int = PIECE) -> subprocess.Popen[str]:
    endpoint = f"{wire.server.url}/api/v1/uploads/"
    command = ["node", str(CLIENTS / "upload.mjs"), endpoint, wire.token, str(song), str(pauses), str(piece)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_arrived(wire: Wire, url: str, data: bytes = DATA) -> None:
    head = wire.ask("HEAD", url.removeprefix(wire.server.url))
    track = json.loads(wire.ask("GET", f"/api/v1/tracks/{head.headers['stemsite-track']}/").body)
    assert track["sha256"] == hashlib.sha256(data).hexdigest()


def kill_in_the_middle(server: LiveServer, least: int, most: int) -> None:
    """Kills the web process while an upload has more than `least` and fewer than `most` bytes; restarts it."""
    staging = server.data_dir / "staging" / "testhost" / "uploads"
    deadline = time.monotonic() + 180
    while not any(path.stat().st_size > least for path in staging.glob("*.part")):
        assert time.monotonic() < deadline, "nothing arrived"
        time.sleep(0.002)
    server.kill()
    assert least < max((path.stat().st_size for path in staging.glob("*.part")), default=0) < most, "killed too late"
    server.start()


@pytest.mark.parametrize("pauses", [0, 3])
def test_tus_js_client_uploads_as_it_is(wire: Wire, song: Path, pauses: int) -> None:
    needs_package("tus-js-client")
    out, err = node(wire, song, pauses).communicate(timeout=180)
    assert out.strip(), err
    assert_arrived(wire, out.strip())


def test_tus_js_client_survives_a_kill_in_the_middle_of_a_piece(wire: Wire, tmp_path: Path) -> None:
    needs_package("tus-js-client")
    song = tmp_path / "long.wav"
    song.write_bytes(LONG)
    client = node(wire, song, piece=len(LONG))
    kill_in_the_middle(wire.server, PIECE, len(LONG))
    out, err = client.communicate(timeout=180)
    assert out.strip(), err
    assert_arrived(wire, out.strip(), LONG)


PAGE = """<!doctype html><meta charset="utf-8"><script src="/uppy.js"></script>"""
UPPY = """
async ([endpoint, token, text, times, chunkSize]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
  const uppy = new Uppy.Uppy({ autoProceed: false })
  uppy.use(Uppy.Tus, { endpoint, chunkSize, headers: { Authorization: `Bearer ${token}` } })
  uppy.addFile({ name: "from-uppy.wav", type: "audio/wav", data: new Blob(Array(times).fill(bytes)) })
  let paused = false
  uppy.on("upload-progress", (file, progress) => {
    if (!paused && progress.bytesUploaded > 2000000 && progress.bytesUploaded < 4000000) {
      paused = true
      uppy.pauseAll()
      setTimeout(() => uppy.resumeAll(), 300)
    }
  })
  const result = await uppy.upload()
  if (result.failed.length) throw new Error(result.failed[0].error)
  return [result.successful[0].uploadURL ?? result.successful[0].tus.uploadUrl, paused]
}
"""


@pytest.fixture
def chromium() -> str:
    needs_package("uppy")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


@pytest.mark.browser
def test_uppys_bundle_uploads_as_it_is_with_a_pause(wire: Wire, chromium: str) -> None:
    url, paused = _upload_in_browser(wire, chromium)
    assert paused
    assert_arrived(wire, url)


@pytest.mark.browser
def test_uppys_bundle_survives_a_kill_in_the_middle_of_a_piece(wire: Wire, chromium: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        uploaded = pool.submit(_upload_in_browser, wire, chromium, times=TIMES, piece=len(LONG))
        kill_in_the_middle(wire.server, PIECE, len(LONG))
        url, _ = uploaded.result(180)
    assert_arrived(wire, url, LONG)


def _upload_in_browser(wire: Wire, chromium: str, *, times: int = 1, piece: int = PIECE) -> tuple[str, bool]:
    """Uppy on a page of the server's own origin; gives the upload's address and whether it paused."""
    bundle = CLIENTS / "node_modules" / "uppy" / "dist" / "uppy.min.js"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.route("**/uppy.html", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        page.route("**/uppy.js", lambda route: route.fulfill(path=bundle, content_type="text/javascript"))
        page.goto(f"{wire.server.url}/uppy.html")
        url, paused = page.evaluate(UPPY, ["/api/v1/uploads/", wire.token, b64encode(DATA).decode(), times, piece])
        browser.close()
    return str(url), bool(paused)
