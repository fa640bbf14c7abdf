"""What stands between Django and an API view: every exception becomes a problem document."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase

from memory.retries import is_busy
from separation.api.problems import Problem, from_service_error, internal_error, not_found, problem_response
from separation.errors import ServiceError

logger = logging.getLogger(__name__)
CONFLICTS = ("23503", "23505")
"""PostgreSQL's foreign_key_violation and unique_violation."""
Response = TypeVar("Response", bound=HttpResponseBase)


def as_problem(error: Exception) -> Problem | None:
    """The problem that an exception stands for; None for one that nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ServiceError):
        return from_service_error(error)
    if isinstance(error, Http404):
        return not_found()
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "body_too_large")
    if isinstance(error, IntegrityError) and _is_conflict(error):
        logger.warning("a row changed while it was acted on", exc_info=error)
        return Problem(409, "not_allowed_now", "It changed meanwhile. Try again.", headers={"Retry-After": "2"})
    if isinstance(error, OperationalError) and is_busy(error):
        return Problem(503, "busy", "The database is busy. Try again shortly.", headers={"Retry-After": "2"})
    if isinstance(error, PermissionDenied):
        return Problem(403, "insufficient_scope")
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return Problem(400, "bad_request")
    return None


def _is_conflict(error: IntegrityError) -> bool:
    """Whether a row that is referred to is gone, or one like it is there already; only a bug breaks another rule."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state in CONFLICTS or str(error).startswith(("FOREIGN KEY", "UNIQUE"))


def answered(request: HttpRequest, answer: Callable[[], Response]) -> Response | HttpResponse:
    """The answer, or the problem it raised. Never raises: an API client always gets a document it can read."""
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - the boundary: logged in full, answered as a 500 problem
        problem = as_problem(error)
        return problem_response(problem) if problem else internal_error(request, error)
