"""Errors that no API view has a say in: unknown addresses, refused hosts, exceptions outside views.

Under /api/ they are problem documents; elsewhere the site's pages.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt

from separation.api.problems import Problem, is_api, not_found, problem_response
from separation.views import errors as pages


class PermanentSameMethod(HttpResponseRedirect):
    """308: the same request again, over there."""

    status_code = 308


@csrf_exempt
def unknown(request: HttpRequest, rest: str = "") -> HttpResponse:
    """404 for an API address that there is not; 308 where only the closing slash is missing."""
    with_slash = f"/api/{rest}/"
    if rest and not rest.endswith("/") and "\x00" not in rest and _exists(with_slash):
        query = request.META.get("QUERY_STRING", "")
        return PermanentSameMethod(f"{with_slash}?{query}" if query else with_slash)
    return problem_response(not_found())


def _exists(path: str) -> bool:
    try:
        return resolve(path).func is not unknown
    except Resolver404:
        return False


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400"""
    if is_api(request):
        return problem_response(Problem(400, "bad_request"))
    return pages.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403"""
    if is_api(request):
        return problem_response(Problem(403, "insufficient_scope"))
    return pages.forbidden(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404"""
    if is_api(request):
        return problem_response(not_found())
    return pages.not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500"""
    if is_api(request):
        return problem_response(Problem(500, "internal_error"))
    return pages.server_error(request)
