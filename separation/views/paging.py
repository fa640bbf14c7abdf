"""Newest-first pages of rows by keyset, so that page one million costs what page one does. Owns the cursor's form."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.core.exceptions import BadRequest
from django.db.models import Model, Q, QuerySet

PAGE_SIZE = 25
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`rows`, and the `older` cursor for the next page; empty on the last."""

    rows: list[Row]
    older: str = ""


def newest_first(query: QuerySet[Row], before: str, size: int = PAGE_SIZE) -> Page[Row]:
    """The page of rows older than the cursor `before` (empty: the newest). Raises `BadRequest` for a bad cursor."""
    if before:
        at, last = _parse(before)
        query = query.filter(Q(created_at__lt=at) | Q(created_at=at, id__lt=last), created_at__lte=at)
    rows = list(query.order_by("-created_at", "-id")[: size + 1])
    older = _cursor(rows[size - 1]) if len(rows) > size else ""
    return Page(rows[:size], older)


def _cursor(row: Model) -> str:
    return f"{row.created_at.isoformat()}~{row.pk}"  # type: ignore[attr-defined]


def _parse(cursor: str) -> tuple[datetime, uuid.UUID]:
    at, _, last = cursor.replace(" ", "+").partition("~")
    try:
        moment, key = datetime.fromisoformat(at), uuid.UUID(last)
    except ValueError as error:
        raise BadRequest("This page address is damaged. Go back to the newest.") from error
    if moment.tzinfo is None:
        raise BadRequest("This page address is damaged. Go back to the newest.")
    return moment, key
