"""Opaque cursors over (created_at, id), so that page 10,000 costs what page 1 does and nothing is skipped."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core import signing
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from separation.api.moments import as_kept, from_kept
from separation.api.problems import Problem

DEFAULT_SIZE = 25
LARGEST_SIZE = 100
ORDERINGS = ("-created_at", "created_at")
SALT = "stemsite.api.cursor"


class Page:
    """One page of a queryset, as the request's `page_size`, `ordering` and `cursor` ask. Raises 400 for bad ones."""

    def __init__(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.request = request
        self.size = _size(request.GET.get("page_size"))
        self.ordering = request.GET.get("ordering", ORDERINGS[0])
        if self.ordering not in ORDERINGS:
            raise Problem(400, "invalid_parameter", f"ordering is one of {', '.join(ORDERINGS)}.", parameter="ordering")
        rows = list(self._ordered(queryset)[: self.size + 1])
        self.items = rows[: self.size]
        self.next = self._link(self.items[-1]) if len(rows) > self.size else None

    def _ordered(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        sign = "-" if self.ordering.startswith("-") else ""
        ordered = queryset.annotate(page_key=as_kept("created_at")).order_by(f"{sign}created_at", f"{sign}id")
        cursor = self.request.GET.get("cursor")
        if not cursor:
            return ordered
        at, key = self._read(cursor)
        bound, beyond = ("lte", "gte") if sign else ("gte", "lte")
        # Two conditions rather than an OR, so that the index on (owner, created_at, id) bounds the scan.
        return ordered.filter(**{f"created_at__{bound}": at}).exclude(Q(created_at=at) & Q(**{f"id__{beyond}": key}))

    def _read(self, cursor: str) -> tuple[Any, UUID]:
        try:
            ordering, at, key = signing.loads(cursor, salt=SALT)
            moment, row = from_kept(at), UUID(key)
        except (signing.BadSignature, ValueError, TypeError, AttributeError) as error:
            raise Problem(400, "invalid_cursor", parameter="cursor") from error
        if ordering != self.ordering:
            raise Problem(400, "invalid_cursor", "The cursor belongs to another ordering.", parameter="cursor")
        return moment, row

    def _link(self, last: Any) -> str:
        at = last.page_key if isinstance(last.page_key, str) else last.page_key.isoformat()
        cursor = signing.dumps([self.ordering, at, str(last.pk)], salt=SALT)
        query = {**self.request.GET.dict(), "cursor": cursor}
        return f"{self.request.path}?{urlencode(query)}"


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_SIZE
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= LARGEST_SIZE:
        detail = f"page_size is a whole number from 1 to {LARGEST_SIZE}."
        raise Problem(400, "invalid_parameter", detail, parameter="page_size")
    return int(text)
