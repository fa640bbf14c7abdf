"""Files out of storage: whole or in part, resumable, never more than a chunk of them in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header, http_date, parse_http_date_safe

from separation.api.problems import Problem
from separation.api.ranges import Span, Unsatisfiable, requested_span

UNREADABLE = "The file cannot be read from storage. Try again shortly; if that does not help, tell an administrator."
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """What is to be sent. `etag` is strong and quoted; `read(start, length)` opens it when the first byte is wanted."""

    filename: str
    content_type: str
    size: int
    etag: str
    modified: datetime
    read: Callable[[int, int], Iterator[bytes]]
    inline: bool = False


def serve(request: HttpRequest, download: Download) -> HttpResponseBase:
    """The answer to GET or HEAD: 200, 206, 304, or `Problem` 412 or 416, as RFC 9110 has it."""
    if not _is_as_expected(request, download):
        raise Problem(412, "precondition_failed")
    if _is_current(request, download):
        return _described(HttpResponseNotModified(), download)
    try:
        span = requested_span(_valid_range(request, download), download.size)
    except Unsatisfiable as error:
        headers = {"Content-Range": f"bytes */{download.size}", "Accept-Ranges": "bytes"}
        raise Problem(416, "range_not_satisfiable", headers=headers) from error
    response = _body(request, download, span or Span(0, download.size), 206 if span else 200)
    if span:
        response.headers["Content-Range"] = span.content_range(download.size)
    return _described(response, download)


def _body(request: HttpRequest, download: Download, span: Span, status: int) -> HttpResponseBase:
    if request.method == "HEAD":
        response: HttpResponseBase = HttpResponse(status=status, content_type=download.content_type)
    else:
        begun = _begun(download.read(span.start, span.length))
        response = StreamingHttpResponse(begun, status=status, content_type=download.content_type)
    response.headers["Content-Length"] = str(span.length)
    return response


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, the first of them read, so that a file that cannot be had is answered for. Raises `Problem`."""
    try:
        first = next(chunks, b"")
    except OSError as error:
        logger.exception("a file cannot be read from storage")
        raise Problem(503, "storage_failed", UNREADABLE, headers={"Retry-After": "30"}) from error
    return _continued(first, chunks)


def _continued(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks


def _described(response: HttpResponseBase, download: Download) -> HttpResponseBase:
    disposition = content_disposition_header(not download.inline, download.filename)
    response.headers["Content-Disposition"] = disposition or "attachment"
    response.headers["ETag"] = download.etag
    response.headers["Last-Modified"] = http_date(download.modified.timestamp())
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Vary"] = "Authorization, Cookie"
    return response


def _is_as_expected(request: HttpRequest, download: Download) -> bool:
    """Whether the file is one that If-Match names or, without that, is no newer than If-Unmodified-Since."""
    expected = request.headers.get("If-Match")
    if expected is not None:
        return not _tags(expected).isdisjoint({download.etag, "*"})
    since = parse_http_date_safe(request.headers.get("If-Unmodified-Since", ""))
    return since is None or int(download.modified.timestamp()) <= since


def _is_current(request: HttpRequest, download: Download) -> bool:
    """Whether the client has the file already, by If-None-Match or, without that, by If-Modified-Since."""
    known = request.headers.get("If-None-Match")
    if known is not None:
        return not _tags(known).isdisjoint({download.etag, f"W/{download.etag}", "*"})
    since = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
    return since is not None and int(download.modified.timestamp()) <= since


def _tags(header: str) -> set[str]:
    return {tag.strip() for tag in header.split(",")}


def _valid_range(request: HttpRequest, download: Download) -> str | None:
    """The Range header of a GET, unless If-Range names another state of the file than the present one."""
    wanted = request.headers.get("Range") if request.method == "GET" else None
    condition = request.headers.get("If-Range")
    if wanted is None or condition is None:
        return wanted
    if condition.strip().startswith(('"', "W/")):
        return wanted if condition.strip() == download.etag else None
    date = parse_http_date_safe(condition)
    return wanted if date is not None and date == int(download.modified.timestamp()) else None
