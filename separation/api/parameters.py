"""Query parameters and headers that several endpoints share: their checks, and how the schema shows them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from separation.api.pagination import DEFAULT_SIZE, LARGEST_SIZE, ORDERINGS
from separation.api.problems import Problem


def query(name: str, description: str, kind: object = OpenApiTypes.STR, **more: object) -> OpenApiParameter:
    """A query parameter for the schema."""
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)  # type: ignore[arg-type]


CURSOR_PARAMETERS = [
    query("cursor", "where to go on, from `next` of the page before"),
    query(
        "page_size",
        f"1 to {LARGEST_SIZE}; {DEFAULT_SIZE} if not given",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_SIZE},
    ),
    query("ordering", "newest or oldest first", enum=ORDERINGS),
]
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description="a request sent again under the same key within a day is not carried out again",
)


def check_known(request: Request, *names: str) -> None:
    """Raises 400 for query parameters that the endpoint does not have: a misspelt filter must not be ignored."""
    for name, values in request.GET.lists():
        if name not in names:
            raise Problem(400, "invalid_parameter", f"There is no parameter called {name[:80]!r}.")
        if len(values) > 1:
            raise Problem(400, "invalid_parameter", f"{name} is given more than once.", parameter=name)
        if "\x00" in values[0]:
            raise Problem(400, "invalid_parameter", f"{name} holds a NUL character.", parameter=name)


def choice(request: Request, name: str, choices: list[str]) -> str | None:
    """The value of a parameter that is one of several. Raises 400 for another."""
    value = request.GET.get(name)
    if value is not None and value not in choices:
        raise Problem(400, "invalid_parameter", f"{name} is one of {', '.join(choices)}.", parameter=name)
    return value


def uuid(request: Request, name: str) -> UUID | None:
    """The value of a parameter that is an id. Raises 400 for another."""
    value = request.GET.get(name)
    try:
        return UUID(value) if value is not None else None
    except ValueError as error:
        raise Problem(400, "invalid_parameter", f"{name} is an id.", parameter=name) from error


def moment(request: Request, name: str) -> datetime | None:
    """The value of a parameter that is an RFC 3339 moment; UTC when it names no zone. Raises 400 for another."""
    text = request.GET.get(name)
    if text is None:
        return None
    try:
        value = parse_datetime(text)
        if value is not None:
            value = value if timezone.is_aware(value) else value.replace(tzinfo=timezone.get_fixed_timezone(0))
            value.astimezone(timezone.get_fixed_timezone(0))
    except (ValueError, OverflowError) as error:
        raise Problem(400, "invalid_parameter", f"{name} is not a moment in time.", parameter=name) from error
    if value is None:
        raise Problem(400, "invalid_parameter", f"{name} is a moment like 2026-01-31T12:00:00Z.", parameter=name)
    return value
