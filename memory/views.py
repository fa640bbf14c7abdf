"""`/metrics`. Owns who may read it; the admin's live page is in `admin.py`."""

from hmac import compare_digest

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from memory.conf import memory_settings
from memory.metrics import CONTENT_TYPE, render


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text for staff, or for `Authorization: Bearer METRICS_TOKEN`; 401 for others."""
    if not (_has_token(request) or _is_staff(request)):
        refusal = HttpResponse("Send METRICS_TOKEN as a bearer token, or log in as staff.\n", "text/plain", 401)
        refusal["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return refusal
    return HttpResponse(render(), content_type=CONTENT_TYPE)


def _has_token(request: HttpRequest) -> bool:
    """An unset METRICS_TOKEN opens nothing."""
    token = memory_settings().metrics_token
    given = request.headers.get("Authorization", "")
    return bool(token) and compare_digest(given.encode(), f"Bearer {token}".encode())


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)
