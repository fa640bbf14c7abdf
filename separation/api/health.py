"""`/healthz` and `/readyz`: is this process alive; can this instance do its work."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from memory.quantities import format_bytes
from separation import catalog, services
from separation.services.disk import free_bytes, is_short
from separation.services.submission import default_model

Check = Callable[[], str]


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 whenever this process answers at all."""
    return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, workers, model and disk are there; 503 saying which are not."""
    problems = {name: check() for name, check in CHECKS.items()}
    ready = not any(problems.values())
    checks = {name: {"ok": not problem, "detail": problem} for name, problem in problems.items()}
    body = {"status": "ok" if ready else "unavailable", "checks": checks}
    headers = {"Cache-Control": "no-store"} if ready else {"Cache-Control": "no-store", "Retry-After": "5"}
    return JsonResponse(body, status=200 if ready else 503, headers=headers)


def database() -> str:
    """What is wrong with the database, or an empty string; the other checks answer alike."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "the database does not answer"
    return ""


def workers() -> str:
    try:
        return "" if services.live_clusters().exists() else "no worker has answered lately"
    except DatabaseError:
        return "the database does not answer"


def model() -> str:
    name = default_model()
    return "" if catalog.is_ready(name, settings.MODEL_DIR) else f"the weights of {name} are not here"


def disk() -> str:
    try:
        return f"only {format_bytes(free_bytes())} are free" if is_short() else ""
    except OSError:
        return "the disk does not answer"


CHECKS: dict[str, Check] = {"database": database, "workers": workers, "model": model, "disk": disk}
