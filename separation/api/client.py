"""A client of the Stemsite API in one file, on the standard library alone: use it, or copy it.

    python -m separation.api.client http://localhost:8000 SONG_OR_FOLDER... --out stems --two-stems vocals

The token comes from STEMSITE_TOKEN or `--token`. Uploads go by tus and go on after a break; so do downloads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any, TypeVar
from uuid import uuid4

PIECE_BYTES = 16 * 1024 * 1024
READ_BYTES = 256 * 1024
FINISHED = ("succeeded", "failed", "cancelled")
RETRIED = (408, 409, 423, 429, 500, 502, 503, 504)
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
LONGEST_PAUSE = 60.0
Progress = Callable[[float], object]
Answer = TypeVar("Answer")


class StemsiteError(Exception):
    """The server refused. `code` is stable, `detail` a sentence, `problem` the whole document."""

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status, self.problem, self.headers = status, dict(problem), headers
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", "The server gave no reason."))
        super().__init__(f"{self.code}: {self.detail}")


class Client:
    """Talks to one server for one user. Raises `StemsiteError` for refusals, `OSError` for a line that stays dead."""

    def __init__(self, url: str, token: str, *, piece_bytes: int = PIECE_BYTES, timeout: float = 120.0) -> None:
        self.url, self.token = url.rstrip("/"), token
        self.piece_bytes, self.timeout = piece_bytes, timeout

    def separate(self, path: Path, out: Path, on_progress: Progress = lambda _: None, **options: Any) -> list[Path]:
        """Uploads a file, has it separated, downloads the stems to `out`; the paths of what was written."""
        track = self.upload(path, lambda fraction: on_progress(fraction * 0.2))
        job = self.submit(track, **options)
        job = self.wait(str(job["id"]), lambda fraction: on_progress(0.2 + fraction * 0.7))
        out.mkdir(parents=True, exist_ok=True)
        written = [self.download(stem["audio"], out / stem["filename"], stem["sha256"]) for stem in job["stems"]]
        on_progress(1.0)
        return written

    def upload(self, path: Path, on_progress: Progress = lambda _: None) -> str:
        """Sends a file by tus; the id of the track it became."""
        size = path.stat().st_size
        name = b64encode(path.name.encode("utf-8", "surrogateescape")).decode()
        metadata = {"Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
        headers = {**metadata, "Idempotency-Key": str(uuid4())}
        made = self._patiently(lambda: self._tus("POST", "/api/v1/uploads/", headers), "no upload could be begun")
        with path.open("rb") as file:
            return self._send_all(made.headers["Location"], file, size, on_progress)

    def _send_all(self, location: str, file: IO[bytes], size: int, on_progress: Progress) -> str:
        """Patient anew whenever something has arrived."""
        offset, patience = 0, self._patience()
        while True:
            begun = offset
            try:
                answer = self._send_piece(location, file, offset)
                offset = int(answer.headers["Upload-Offset"])
                on_progress(offset / size)
                if track := answer.headers.get("Stemsite-Track"):
                    return str(track)
                if offset == begun:
                    raise ConnectionError("the upload is complete, but no track yet")
            except (OSError, HTTPException, StemsiteError) as error:
                if (pause := next(patience, None)) is None:
                    raise TimeoutError("the upload could not be finished") from error
                self._pause_or_raise(error, pause)
                offset = self._offset(location, begun)
            if offset > begun:
                patience = self._patience()

    def _send_piece(self, location: str, file: IO[bytes], offset: int) -> HTTPResponse:
        file.seek(offset)
        piece = file.read(self.piece_bytes)  # empty at the end: the answer says what became of the file
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return self._tus("PATCH", location, headers, piece)

    def _offset(self, location: str, known: int) -> int:
        try:
            return int(self._tus("HEAD", location).headers["Upload-Offset"])
        except (OSError, HTTPException, StemsiteError) as error:
            self._pause_or_raise(error, 0)
            return known

    def submit(self, track: str, **options: Any) -> dict[str, Any]:
        """Asks for a separation: `model`, `stems` or `two_stems`, `format`, `quality`, `preset`, …; the job."""
        given = {name: value for name, value in options.items() if value is not None}
        body = json.dumps({"track": track, **given}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
        return self._patiently(lambda: self._json("POST", "/api/v1/jobs/", headers, body)[0], "no job could be made")

    def wait(self, job: str, on_progress: Progress = lambda _: None) -> dict[str, Any]:
        """The job once it has succeeded. Raises `StemsiteError` with the job's reason when it has not."""
        while True:
            shown, headers = self._patiently(lambda: self._json("GET", f"/api/v1/jobs/{job}/"), "no news of the job")
            on_progress(shown["progress"])
            if shown["state"] == "succeeded":
                return shown
            if shown["state"] in FINISHED:
                problem = {"code": shown["reason"] or shown["state"], "detail": shown["message"]}
                raise StemsiteError(200, problem, {})
            time.sleep(float(headers.get("Retry-After", "2")))

    def download(self, audio: str, target: Path, sha256: str = "") -> Path:
        """Writes a file of the server to `target`, going on where a break left it. Checks the SHA-256 if given."""
        part = target.with_name(target.name + ".part")
        failure = f"{target.name} could not be downloaded; what came of it is kept"
        self._patiently(lambda: self._fetch(audio, part), failure)
        if sha256 and _sha256(part) != sha256:
            part.unlink()
            raise StemsiteError(200, {"code": "checksum_mismatch", "detail": f"{target.name} arrived damaged."}, {})
        return part.replace(target)

    def _fetch(self, audio: str, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        try:
            answer = self._open("GET", audio, {"Range": f"bytes={have}-"} if have else {})
        except StemsiteError as error:
            if error.status != 416:
                raise
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # it was whole already
            part.unlink()
            raise ConnectionError("what was kept is of another file") from error
        with part.open("ab" if answer.status == 206 else "wb") as file:
            while chunk := answer.read(READ_BYTES):
                file.write(chunk)
        if answer.length:  # http.client says nothing of a body that ends early when it is read in pieces
            raise ConnectionError(f"the answer ended {answer.length} bytes early")

    def _json(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> tuple[dict[str, Any], HTTPMessage]:
        with self._open(method, path, headers, data) as answer:
            return dict(json.load(answer)), answer.headers

    def _tus(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> HTTPResponse:
        answer = self._open(method, path, {"Tus-Resumable": "1.0.0", **(headers or {})}, data)
        answer.read()
        return answer

    def _open(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> HTTPResponse:
        named = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, named, method=method)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            raise StemsiteError(error.code, _problem(error), dict(error.headers)) from None

    def _patiently(self, act: Callable[[], Answer], failure: str) -> Answer:
        """What `act` gives, tried again after growing pauses while the line or the server is bad."""
        for pause in self._patience():
            try:
                return act()
            except (OSError, HTTPException, StemsiteError) as error:
                self._pause_or_raise(error, pause)
        raise TimeoutError(failure)

    @staticmethod
    def _patience() -> Iterator[float]:
        yield from PAUSES

    @staticmethod
    def _pause_or_raise(error: Exception, pause: float) -> None:
        """Waits before another try; as long as the server asks, if it does. Raises what cannot get better soon."""
        if not isinstance(error, StemsiteError):
            time.sleep(pause)
            return
        asked = error.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdigit() else 0.0
        if error.status not in RETRIED or seconds > LONGEST_PAUSE:
            raise error
        time.sleep(max(pause, seconds))


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        return dict(json.load(error))
    except (ValueError, TypeError, OSError):
        return {"detail": f"HTTP {error.code} {error.reason}"}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (entry for entry in sorted(path.iterdir()) if entry.is_file() and not entry.name.startswith("."))
        else:
            yield path


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 when any file failed."""
    parser = argparse.ArgumentParser(prog="stemsite-client", description="Separate files on a Stemsite server.")
    parser.add_argument("url")
    parser.add_argument("paths", nargs="+", type=Path, help="files, or folders of files")
    parser.add_argument("--token", default=os.environ.get("STEMSITE_TOKEN", ""))
    parser.add_argument("--out", type=Path, default=Path("stems"))
    for name in ("model", "two-stems", "format", "preset"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args(argv)
    client = Client(given.url, given.token)
    options = {name: getattr(given, name) for name in ("model", "two_stems", "format", "preset")}
    failed = [path for path in _files(given.paths) if not _separate_one(client, path, given.out, options)]
    return 1 if failed else 0


def _separate_one(client: Client, path: Path, out: Path, options: Mapping[str, Any]) -> bool:
    def show(fraction: float) -> None:
        sys.stderr.write(f"\r{path.name}: {fraction:4.0%} ")

    try:
        client.separate(path, out / path.stem, show, **options)
    except (StemsiteError, OSError) as error:
        sys.stderr.write(f"\r{path.name}: {error}\n")
        return False
    sys.stderr.write("done\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
