"""Who is asking: a bearer token or a browser session with its CSRF token. Owns no permission beyond scopes."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from separation.api.problems import Problem
from separation.tokens.models import AccessToken, Scope
from separation.tokens.services import recognise

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="stemsite"'}


@dataclass(frozen=True)
class Caller:
    """An authenticated user; `token` is None for a browser session, which may do all its user may."""

    user: User
    token: AccessToken | None = None

    def allows(self, scope: str) -> bool:
        if scope == Scope.STAFF and not self.user.is_staff:
            return False
        if self.token is None:
            return True
        return scope in self.token.scopes or (scope == Scope.READ and Scope.SUBMIT in self.token.scopes)

    def require(self, scope: str) -> None:
        """Raises 403 when the caller's token does not have the scope."""
        if not self.allows(scope):
            code = "staff_only" if scope == Scope.STAFF and not self.user.is_staff else "insufficient_scope"
            raise Problem(403, code)


def identify(request: HttpRequest, *, unsafe: bool | None = None) -> Caller | None:
    """The caller, or None when the request carries no credentials. Raises `Problem` for bad ones.

    A session is only believed for an unsafe method together with its CSRF token in the header, and the
    body is not read to look for one.
    """
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if header:
        return _from_header(header)
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    if unsafe if unsafe is not None else request.method not in SAFE_METHODS:
        _check_csrf(request)
    return Caller(user)


def require_caller(request: HttpRequest, *, unsafe: bool | None = None) -> Caller:
    """As `identify`, and 401 for nobody."""
    caller = identify(request, unsafe=unsafe)
    if caller is None:
        raise Problem(401, "not_authenticated", headers=CHALLENGE)
    return caller


def _from_header(header: str) -> Caller:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Problem(401, "not_authenticated", headers=CHALLENGE)
    token = recognise(text.strip())
    if token is None:
        raise Problem(401, "invalid_token", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return Caller(token.user, token)


class _HeaderCheck(CsrfViewMiddleware):
    """Django's CSRF check, raising instead of answering with a page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise Problem(403, "csrf_failed", f"CSRF check failed: {reason}")


def _unused(request: HttpRequest) -> HttpResponse:
    raise AssertionError(request)


def _check_csrf(request: HttpRequest) -> None:
    if settings.CSRF_HEADER_NAME not in request.META:
        raise Problem(403, "csrf_failed")
    probe = copy.copy(request)
    probe.method = "PUT"  # for POST Django would look for a form field, and read the whole upload for it
    probe._dont_enforce_csrf_checks = getattr(request, "_dont_enforce_csrf_checks", False)  # type: ignore[attr-defined]
    check = _HeaderCheck(_unused)
    check.process_request(probe)
    check.process_view(probe, _unused, (), {})
