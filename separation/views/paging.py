"""Newest-first pages of rows for lists, by the same cursors as the API's.

Owns how a bad one is answered, and the way back to a page from a form on it.
"""

from typing import Any
from urllib.parse import urlencode

from django.core import signing
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest

from separation.api.pagination import ORDERINGS, SALT, Page
from separation.api.problems import Problem


def newest_first(request: HttpRequest, query: QuerySet[Any]) -> Page:
    """The page that the request's cursor asks for. Raises `BadRequest` for a damaged cursor."""
    try:
        return Page(request, query)
    except Problem as problem:
        raise BadRequest(problem.detail) from problem


def page_at(address: str, cursor: str) -> str:
    """The address of the page of a list that `cursor` begins; of its first when that is none of ours."""
    try:
        ordering, *_ = signing.loads(cursor, salt=SALT)
    except signing.BadSignature:
        return address
    return f"{address}?{urlencode({'cursor': cursor})}" if ordering == ORDERINGS[0] else address
