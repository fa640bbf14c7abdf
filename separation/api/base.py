"""What every JSON view of the API does: who is asking, scope, weak ETags, and problems for answers."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.http import HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from separation.api.parsers import BoundedJSONParser
from separation.api.problems import Problem, internal_error, problem_response
from separation.api.shell import as_problem
from separation.tokens.authentication import SAFE_METHODS, Caller, identify, require_caller
from separation.tokens.models import Scope
from separation.uploads.protocol import body_length

CODES: dict[type[Exception], str] = {
    exceptions.ParseError: "malformed_body",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "invalid_token",
    exceptions.PermissionDenied: "insufficient_scope",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.Throttled: "throttled",
}


class CallerAuthentication(BaseAuthentication):
    """Token or session; `request.auth` is the `Caller`."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        caller = identify(request._request)
        return (caller.user, caller) if caller else None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="stemsite"'


class HasScope(BasePermission):
    """The view's scope for the method: `read` for safe ones, `submit` for the others unless it says otherwise."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scopes = getattr(view, "scopes", {})
        default = Scope.READ if request.method in SAFE_METHODS else Scope.SUBMIT
        require_caller(request._request).require(scopes.get(request.method, default))
        return True


class ApiView(APIView):
    """Base of the JSON views. `scopes` maps a method to the scope it needs, where it is not the usual one."""

    authentication_classes = [CallerAuthentication]
    permission_classes = [HasScope]
    parser_classes = [BoundedJSONParser]
    renderer_classes = [JSONRenderer]
    scopes: ClassVar[dict[str, Scope]] = {}

    @property
    def user(self) -> User:
        return cast(User, self.request.user)

    @property
    def caller(self) -> Caller:
        return cast(Caller, self.request.auth)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Also raises 411 for a body of unknown length: it would look like none."""
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS:
            body_length(request.headers, required=False)

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; an empty one for no body. Raises 400 for any other JSON value."""
        data = self.request.data
        if not isinstance(data, dict):
            raise Problem(400, "malformed_body", "The body must be a JSON object.")
        return dict(data)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        response.headers["X-Content-Type-Options"] = "nosniff"
        patch_vary_headers(response, ["Authorization", "Cookie"])
        if request.method in ("GET", "HEAD") and isinstance(response, Response) and response.status_code == 200:
            return _conditional(request, response)
        return response


def _conditional(request: Request, response: Response) -> HttpResponse:
    """The response with a weak ETag, or 304 when the client has that already."""
    response.render()
    etag = f'W/"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if etag not in known and f'"{etag[3:]}' not in known and "*" not in known:
        return response
    unchanged = HttpResponseNotModified()
    for name in ("ETag", "Cache-Control", "Vary", "Retry-After", "X-Content-Type-Options"):
        if name in response.headers:
            unchanged.headers[name] = response.headers[name]
    return unchanged


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """REST framework's hook: every exception of a view as a problem document."""
    problem = as_problem(error) or _from_framework(error, context["view"])
    if problem is None:
        return internal_error(context["request"]._request, error)
    return problem_response(problem)


def _from_framework(error: Exception, view: APIView) -> Problem | None:
    if not isinstance(error, exceptions.APIException):
        return None
    if isinstance(error, exceptions.ValidationError):
        return Problem(422, "invalid_option", errors=error.detail)
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "bad_request")
    headers = {}
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(view.allowed_methods)
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    return Problem(error.status_code, code, headers=headers)
