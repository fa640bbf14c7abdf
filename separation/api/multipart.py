"""One file out of a multipart/form-data body, streamed to the staging area as it arrives.

Django's own upload handlers know neither this server's limits nor where a client stops being worth waiting for,
so this is one: bounded memory, a limit on the bytes, SHA-256 on the way, and no file left when it fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from rest_framework.parsers import BaseParser

from separation.api.problems import Problem
from separation.services.numbers import number, whole
from separation.uploads import limits
from separation.uploads.body import GuardedBody
from separation.uploads.parts import folder
from separation.uploads.protocol import body_length

FIELD = "file"
MOST_OVERHEAD = 64 * 1024
CHUNK_BYTES = 256 * 1024
NOT_KEPT = (
    "The file did not arrive whole, and nothing of it is kept. "
    "Send it again, or by /api/v1/uploads/, where an upload goes on after a break."
)


class RawBody(BaseParser):
    """Tells REST framework that multipart is welcome, and never to parse it."""

    media_type = "multipart/form-data"

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the body is read by received_file")


@dataclass(frozen=True)
class Received:
    """A file that arrived whole: where it lies, what it was called, its SHA-256 in hex."""

    path: Path
    name: str
    sha256: str


class ToStaging(FileUploadHandler):
    """Writes the file of the field `file` to one path, up to `limit` bytes."""

    chunk_size = CHUNK_BYTES

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__()
        self.path, self.limit = path, limit
        self.name: str | None = None
        self.problem: Problem | None = None
        self.complete = False
        self.digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._written = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.field_name != FIELD or self.name is not None:
            self._stop(Problem(400, "bad_request", f"Send one file, in a field called {FIELD!r}."))
        self.name = self.file_name or ""
        self._file = self.path.open("xb", buffering=0)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._written += len(raw_data)
        if self._written > self.limit:
            self._stop(limits.limited(413, "too_large", "max_upload_bytes", self.limit, self._written))
        self._write(raw_data)
        self.digest.update(raw_data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view and self._file:
                view = view[self._file.write(view) :]
        except OSError:
            self._stop(Problem(507, "disk_full", headers={"Retry-After": "60"}))

    def file_complete(self, file_size: int) -> None:
        self.complete = True
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stop(self, problem: Problem) -> None:
        self.problem = problem
        raise StopUpload(connection_reset=True)


@contextmanager
def received_file(request: HttpRequest, check: Callable[[int], None]) -> Iterator[Received]:
    """The file of a multipart request, in the staging area until the block ends. Before a byte of it is read, `check`
    may refuse the least size that it can have.

    Raises `Problem`: 411 without a length, 413 beyond a limit, 400 for a body without one whole file.
    """
    announced = _announced(request)
    check(max(1, announced - MOST_OVERHEAD))
    place = folder(settings.HOST_NAME) / f"{uuid4()}.part"
    handler = ToStaging(place, whole("MAX_UPLOAD_BYTES"))
    try:
        _parse(request, handler, announced)
        yield _checked(handler)
    finally:
        handler.close()
        place.unlink(missing_ok=True)


def _announced(request: HttpRequest) -> int:
    length = body_length(request.headers)
    if not request.headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "unsupported_media_type", "Send multipart/form-data with the file in the field 'file'.")
    return length


def _parse(request: HttpRequest, handler: ToStaging, announced: int) -> None:
    stall = number("UPLOAD_STALL_SECONDS")
    with GuardedBody.of(request, announced, stop_file=handler.path.with_suffix(".stop"), stall_seconds=stall) as body:
        try:
            MultiPartParser(request.META, cast(Any, body), [handler], "utf-8").parse()
        except (MultiPartParserError, SuspiciousOperation, UnreadablePostError, UnicodeError) as error:
            raise Problem(400, "bad_request", "The body is not well-formed multipart/form-data.") from error
    if body.ended and handler.problem is None:
        raise Problem(408 if body.ended == "upload_too_slow" else 400, body.ended, NOT_KEPT)


def _checked(handler: ToStaging) -> Received:
    if handler.problem is not None:
        raise handler.problem
    if handler.name is None or not handler.complete:
        raise Problem(400, "bad_request", f"There is no file in a field called {FIELD!r}.", field=FIELD)
    return Received(handler.path, handler.name, handler.digest.hexdigest())
