"""The pages for 400, 403, 404 and 500: plain, helpful, and free of anything that could fail in turn. Owns no more."""

from django.core.exceptions import BadRequest, DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/400.html", {"reason": _reason(exception)}, status=400)


def _reason(exception: Exception) -> str:
    if isinstance(exception, DisallowedHost):
        return "This server does not go by the name in the address. Whoever runs it can add the name to ALLOWED_HOSTS."
    return str(exception) if isinstance(exception, BadRequest) else ""


def forbidden(request: HttpRequest, _exception: Exception) -> HttpResponse:
    return render(request, "errors/403.html", status=403)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    return render(request, "errors/403_csrf.html", status=403)


def not_found(request: HttpRequest, _exception: Exception) -> HttpResponse:
    return render(request, "errors/404.html", status=404)


def server_error(_request: HttpRequest) -> HttpResponse:
    """Rendered without a request: whatever failed may be the session, the user or the database."""
    return render(None, "errors/500.html", status=500)
