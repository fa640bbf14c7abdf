"""The bodies of forms: bounded, and under the guard that uploads have, before any page sees them.

Django reads a form when somebody first asks for a field of it, and that is the check of its CSRF token, before any
page has said who may post to it. Left to itself it takes files of any length there, and waits for any trickle.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.shortcuts import render

from separation.api.problems import Problem, is_api, problem_response
from separation.services.numbers import number
from separation.services.storing import storage_error
from separation.uploads.body import GuardedBody, announced, read_short

BROKEN_OFF = "The form did not arrive whole: it ended early, or came too slowly. Go back and send it again."


class NoFiles(FileUploadHandler):
    """What FILE_UPLOAD_HANDLERS names: a form takes no file unless its page sees to it."""

    def new_file(self, *_: Any, **__: Any) -> None:
        raise MultiPartParserError("no file is taken here")


class ShortForms:
    """Middleware: a form is read into memory, and refused when it is too long or does not arrive whole.

    A view that is exempt from Django's CSRF check reads its body itself, once it knows who is asking.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: Any) -> HttpResponse | None:
        if request.method != "POST" or getattr(view, "csrf_exempt", False):
            return None
        return take_short_form(request)


def take_short_form(request: HttpRequest) -> HttpResponse | None:
    """Reads the form, for whoever asks for its fields; an answer when it is refused."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if announced(request) > most:
        return _refusal(request, 413, "body_too_large", f"At most {most} bytes are taken here, and no files.")
    request._body, ended = read_short(request, most)
    return _refusal(request, 400, "bad_request", BROKEN_OFF) if ended else None


def _refusal(request: HttpRequest, status: int, code: str, reason: str) -> HttpResponse:
    if is_api(request):
        return problem_response(Problem(status, code, reason))
    return render(request, "errors/400.html", {"reason": reason}, status=status)


def take_files(request: HttpRequest) -> None:
    """Has the form's files stored when its fields are first asked for. The caller has checked who asks for how much."""
    request.parse_file_upload = partial(_parse, request)  # type: ignore[method-assign]  # Django's hook for it


def _parse(request: HttpRequest, meta: dict[str, Any], _data: object) -> Any:
    """The fields and the files. Raises `BadRequest` when the form does not arrive whole, and `ServiceError` when its
    files cannot be stored (disk_full, storage_failed)."""
    handler, stall = TemporaryFileUploadHandler(request), number("UPLOAD_STALL_SECONDS")
    try:
        with GuardedBody.of(request, announced(request), stop_file=None, stall_seconds=stall) as body:
            return MultiPartParser(meta, cast(Any, _Whole(body)), [handler], request.encoding).parse()
    except OSError as error:
        _discard(handler)
        raise storage_error(error) from error
    except BaseException:
        _discard(handler)
        raise


def _discard(handler: TemporaryFileUploadHandler) -> None:
    """Deletes what came of the file that was being received; also where its last bytes find no room on the disk."""
    with suppress(OSError):
        handler.upload_interrupted()


class _Whole:
    """A body for Django's parser, which takes one that ended early for a whole one."""

    def __init__(self, body: GuardedBody) -> None:
        self._body = body

    def read(self, size: int, /) -> bytes:
        chunk = self._body.read(size)
        if self._body.ended:
            raise BadRequest(BROKEN_OFF)
        return chunk
