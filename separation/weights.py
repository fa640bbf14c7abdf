"""Fetching a model's weights from the hub: bag and networks, with progress, resume and checksums.

Gets the files that `demucs.hf` would get (one repository per model), into `MODEL_DIR/<name>/`. A file is published
under its name only when it is whole and its sha256 is the one the hub states. Loads nothing. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from separation.catalog import MODELS, STARTER, folder, unavailable_reason, weight_files

HUB = "https://huggingface.co"
HUB_VARIABLES = ("STEMSITE_HUB_URL", "HF_ENDPOINT")
SCHEMES = ("http", "https")
NAMESPACE = "adefossez"
CHECKSUMS = "checksums.json"
READ_BYTES = 1024**2
TIMEOUT = 30.0
MAX_REDIRECTS = 5
_SHA256 = re.compile(r'^"?([0-9a-f]{64})"?$')


class FetchError(Exception):
    """Weights could not be fetched. `code` is a value of `separation.errors.ReasonCode`."""

    def __init__(self, message: str, code: str = "model_unavailable") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: the file under way, its bytes so far, and its size (0 if the hub does not say)."""

    file: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


def hub_url() -> str:
    """The hub: `STEMSITE_HUB_URL` or `HF_ENDPOINT` from the environment, else the public one."""
    for name in HUB_VARIABLES:
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    return HUB


def _checked(hub: str) -> str:
    if urlsplit(hub).scheme not in SCHEMES:
        raise FetchError(
            f"The hub's address in {' or '.join(HUB_VARIABLES)} has to begin with https://; “{hub}” does not."
        )
    return hub


def repository(name: str) -> str:
    """The hub's repository of a model, named as `demucs.hf.hf_repo_name` does."""
    if name == "htdemucs":
        return f"{NAMESPACE}/HTDemucs"
    if name.startswith("htdemucs_"):
        return f"{NAMESPACE}/HTDemucs-{name.removeprefix('htdemucs_')}"
    return f"{NAMESPACE}/Demucs-{name}"


def fetch(name: str, model_dir: Path, on_progress: OnProgress = lambda _: None, *, hub: str | None = None) -> Path:
    """Make the model `name` ready under `model_dir`; returns its folder. Files already there are kept.

    An interrupted download goes on where it stopped. Raises `FetchError` saying what to do.
    """
    if name not in MODELS:
        raise FetchError(f"There is no model “{name}”. Choose one of {', '.join(MODELS)}.", "unknown_model")
    if reason := unavailable_reason(name):
        raise FetchError(reason)
    place = folder(name, model_dir)
    if name == STARTER:
        return place
    hub = _checked(hub or hub_url())
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in weight_files(name, model_dir):
            if not path.is_file():
                _fetch_file(f"{hub}/{repository(name)}/resolve/main/{path.name}", path, on_progress)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise FetchError(_offline(name, place, error)) from error
    except OSError as error:
        raise FetchError(
            f"The weights could not be stored in {place}: {error.strerror or error}.", "disk_full"
        ) from error
    return place


def _offline(name: str, place: Path, error: Exception) -> str:
    names = ", ".join(path.name for path in weight_files(name, place.parent))
    return (
        f"The weights of {name} could not be fetched ({_cause(error)}). Try again with a network, or copy {names} "
        f"from {HUB}/{repository(name)} into {place}."
    )


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the hub answered {error.code}"
    return str(getattr(error, "reason", error)) or type(error).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller: the hub states the checksum in the redirecting answer."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


@dataclass
class _Answer:
    body: IO[bytes]
    headers: Message[str, str]
    status: int
    sha256: str


def _open(url: str, start: int) -> _Answer:
    """The answer after redirects, from byte `start` if the server can; http and https only."""
    sha256 = ""
    for _ in range(MAX_REDIRECTS):
        if urlsplit(url).scheme not in SCHEMES:
            raise FetchError(f"The hub redirected to {url.split(':')[0]}, which is not allowed.")
        headers = {"User-Agent": "stemsite", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            answer = _opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            sha256 = sha256 or _stated_sha256(error.headers)
            if error.code not in (301, 302, 303, 307, 308) or not error.headers.get("Location"):
                raise
            url = urljoin(url, error.headers["Location"])
            error.close()
            continue
        return _Answer(answer, answer.headers, answer.status, sha256 or _stated_sha256(answer.headers))
    raise FetchError("The hub redirected too often.")


def _stated_sha256(headers: Message[str, str]) -> str:
    for name in ("X-Linked-ETag", "ETag"):
        match = _SHA256.match(headers.get(name, "").removeprefix("W/"))
        if match:
            return match[1]
    return ""


def _fetch_file(url: str, path: Path, on_progress: OnProgress) -> None:
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    try:
        answer = _open(url, start)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()  # longer than the file has become: begin again
        start, answer = 0, _open(url, 0)
    resumed = answer.status == 206
    digest = _download(answer, part, start if resumed else 0, Progress(path.name, 0, 0), on_progress)
    if answer.sha256 and digest != answer.sha256:
        part.unlink()
        raise FetchError(f"The checksum of {path.name} is wrong: the download was damaged. Try again.")
    _publish(part, path, digest)


def _download(answer: _Answer, part: Path, start: int, progress: Progress, on_progress: OnProgress) -> str:
    """Append the answer's body to `part` from byte `start`; returns the sha256 of the whole."""
    length = int(answer.headers.get("Content-Length") or 0)
    total, done = (start + length if length else 0), start
    digest = hashlib.sha256()
    with answer.body, part.open("r+b" if start else "wb") as file:
        for data in _chunks(file) if start else ():
            digest.update(data)
        for data in _chunks(answer.body):
            file.write(data)
            digest.update(data)
            done += len(data)
            on_progress(Progress(progress.file, done, total))
        file.flush()
        os.fsync(file.fileno())
    if total and done != total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")
    return digest.hexdigest()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(READ_BYTES):
        yield data


def _publish(part: Path, path: Path, digest: str) -> None:
    """Record the checksum, then give the file its name."""
    record = path.parent / CHECKSUMS
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    temporary = record.with_suffix(".tmp")
    temporary.write_text(json.dumps({**known, path.name: digest}, indent=1), encoding="utf-8")
    temporary.replace(record)
    part.replace(path)
