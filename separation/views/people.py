"""Who is asking. Owns nothing but the type of a request that has passed `login_required`."""

from typing import TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

Owned = TypeVar("Owned", bound=Model)


def signed_in(request: HttpRequest) -> User:
    """The user of a request behind `login_required`."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def own(request: HttpRequest, query: QuerySet[Owned], key: object) -> Owned:
    """The user's own row, or a 404: what belongs to someone else is not there."""
    return get_object_or_404(query, pk=key, owner=signed_in(request))
