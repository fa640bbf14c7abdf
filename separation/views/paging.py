"""Newest-first pages of rows for lists, by the same cursors as the API's. Owns only how a bad one is answered."""

from typing import Any

from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest

from separation.api.pagination import Page
from separation.api.problems import Problem


def newest_first(request: HttpRequest, query: QuerySet[Any]) -> Page:
    """The page that the request's cursor asks for. Raises `BadRequest` for a damaged cursor."""
    try:
        return Page(request, query)
    except Problem as problem:
        raise BadRequest(problem.detail) from problem
