"""Errors as RFC 9457 problem documents. Owns their shape and headers; owns no decision to refuse.

`type` is a path under /api/problems/ that says what the code means; `code` is its last part and is stable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from separation.errors import SENTENCES, ServiceError

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)

MEANINGS: dict[str, str] = {
    "bad_request": "The request could not be understood.",
    "malformed_body": "The body is not valid JSON of a reasonable size and depth.",
    "invalid_parameter": "A query parameter has a value that is not allowed.",
    "invalid_cursor": "The cursor is not one that this server gave out. Start again from the first page.",
    "invalid_header": "A request header is missing or has a value that is not allowed.",
    "not_authenticated": "Sign in, or send `Authorization: Bearer <token>`.",
    "invalid_token": "The token is unknown, revoked or expired. Make a new one.",
    "insufficient_scope": "The token does not have the scope that this needs.",
    "session_required": "This can only be done from a signed-in browser session, not with a token.",
    "csrf_failed": "A browser session must send the CSRF token in the X-CSRFToken header.",
    "staff_only": "This is for staff.",
    "not_found": "There is nothing here, or it is not yours.",
    "method_not_allowed": "This address does not support the method.",
    "not_acceptable": "The answer cannot be given in any of the accepted media types.",
    "unsupported_media_type": "The body's media type is not one that this address takes.",
    "body_too_large": "The body is larger than is allowed here.",
    "uri_too_long": "The address is longer than is read here.",
    "headers_too_large": "The headers are larger, or more, than are read here.",
    "length_required": "Send a Content-Length; bodies of unknown length are not taken here.",
    "throttled": "Too many requests of this kind. Wait, then try again.",
    "idempotency_conflict": "A request with this Idempotency-Key is still being worked on.",
    "idempotency_mismatch": "This Idempotency-Key was used before with a different request.",
    "precondition_failed": "The file is not in the state that If-Match or If-Unmodified-Since asks for.",
    "range_not_satisfiable": "The range lies outside the file.",
    "link_invalid": "This download link is not valid, or has expired. Ask for a new one.",
    "internal_error": "Something went wrong on the server. It has been logged.",
    "unknown_option": "There is no option of this name.",
    "segment_too_long": "The segment is longer than the model was trained for.",
    "unsupported_tus_version": "The server speaks version 1.0.0 of the tus protocol.",
    "offset_mismatch": "The offset is not where the upload stands. Ask for it with HEAD and go on from there.",
    "checksum_mismatch": "The bytes do not have the checksum that was sent with them. Send them again.",
    "unsupported_checksum": "The checksum algorithm is not one that the server knows.",
    "upload_locked": "Another request is writing to this upload and did not give way. Try again shortly.",
    "upload_gone": "This upload has ended or expired. Start a new one.",
    "upload_incomplete_body": "The body ended before the length that was announced; what arrived is kept.",
    "upload_too_slow": "Hardly anything arrived for a while; what arrived is kept. Go on when the line is better.",
    "upload_superseded": "Another request took over this upload; what arrived is kept.",
    "upload_elsewhere": "This upload is kept on another host of this service. Try again.",
    "invalid_metadata": "Upload-Metadata is not a list of distinct keys with base64 values.",
}


def meaning(code: str) -> str | None:
    """The sentence of a code, whoever defines it; None for a code there is not."""
    return MEANINGS.get(code) or SENTENCES.get(code)


def phrase(status: int) -> str:
    """The reason phrase of a status; 460 is the tus protocol's own."""
    return "Checksum Mismatch" if status == 460 else HTTPStatus(status).phrase


class Problem(Exception):
    """A refusal with its HTTP status. `extra` are further members of the document; `headers` go on the response."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail or meaning(code) or phrase(status)
        self.headers = dict(headers or {})
        self.extra = extra
        super().__init__(self.detail)

    def as_dict(self) -> dict[str, Any]:
        """The document: type, title, status, detail and code, and the extra members that have a value."""
        members = {name: value for name, value in self.extra.items() if value is not None}
        return {
            "type": f"/api/problems/{self.code}/",
            "title": phrase(self.status),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **members,
        }


def from_service_error(error: ServiceError) -> Problem:
    """The problem that a refusal by a service is."""
    headers = {"Retry-After": str(getattr(error, "retry_after", 0) or 5)} if error.http_status in (429, 503) else {}
    extra: dict[str, Any] = {"field": error.field}
    if error.limit:
        extra |= {"limit_name": error.limit.name, "limit": error.limit.value, "used": error.limit.used}
    return Problem(error.http_status, error.code, error.message, headers=headers, **extra)


def not_found() -> Problem:
    """What someone else's object and no object at all both look like."""
    return Problem(404, "not_found")


def problem_response(problem: Problem) -> HttpResponse:
    """The problem as a response, never cached."""
    body = json.dumps(problem.as_dict(), ensure_ascii=False).encode("utf-8", "backslashreplace")
    response = HttpResponse(body, status=problem.status, reason=phrase(problem.status), content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def is_api(request: HttpRequest) -> bool:
    """Whether errors of this request are problem documents rather than pages."""
    return request.path.startswith("/api/")


def unexpected(request: HttpRequest, error: BaseException) -> Problem:
    """Logs an exception that nobody expected; the 500 problem that it is, which says no more."""
    logger.error("unexpected error at %s %s", request.method, request.path, exc_info=error)
    return Problem(500, "internal_error")


def internal_error(request: HttpRequest, error: BaseException) -> HttpResponse:
    """The answer to an exception that nobody expected, which is logged."""
    return problem_response(unexpected(request, error))
