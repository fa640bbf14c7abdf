"""Making, listing, revoking and recognising access tokens. The only code that ever holds a token's text."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from separation.errors import ServiceError
from separation.services.turns import take_turn
from separation.tokens.models import AccessToken, Scope

PREFIX = "stem_"
MAX_PER_USER = 50
DEFAULT_SCOPES = (Scope.READ, Scope.SUBMIT)
LAST_USED_RESOLUTION = timedelta(minutes=1)


def digest(token: str) -> str:
    """SHA-256 of a token, in hex: what the database knows it by."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def create_token(
    user: User,
    name: str,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[AccessToken, str]:
    """A new token and its text, which can never be read again. Raises `ServiceError` as `check_token` does."""
    wanted = set(scopes)
    text = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        take_turn(user)
        check_token(user, name, wanted, expires_at)
        token = AccessToken.objects.create(
            user=user,
            name=name.strip(),
            hint=text[: len(PREFIX) + 5],
            digest=digest(text),
            scopes=[scope for scope in Scope.values if scope in wanted],
            expires_at=expires_at,
        )
    token.refresh_from_db(fields=["created_at"])
    return token, text


def check_token(user: User, name: str, scopes: Iterable[str], expires_at: datetime | None) -> None:
    """Raise `ServiceError` naming the field at fault, if any, when the user cannot have such a token now."""
    _check_scopes(user, set(scopes))
    _check_name(name)
    if expires_at is not None and expires_at <= timezone.now():
        raise ServiceError("invalid_option", "The expiry must lie in the future.", field="expires_at")
    if list_tokens(user).count() >= MAX_PER_USER:
        raise ServiceError(
            "quota_exceeded", f"A user can have {MAX_PER_USER} tokens. Revoke one first.", http_status=409
        )


def list_tokens(user: User) -> QuerySet[AccessToken]:
    """The user's tokens that have not been revoked, newest first (expired ones are still listed)."""
    return AccessToken.objects.filter(user=user, revoked_at__isnull=True)


def revoke_token(user: User, token_id: int) -> bool:
    """Ends one of the user's own tokens at once. False when there is none of this id."""
    return list_tokens(user).filter(pk=token_id).update(revoked_at=timezone.now()) == 1


def recognise(text: str) -> AccessToken | None:
    """The active token of an active user with this text, its last use noted; else None."""
    try:
        token = AccessToken.objects.select_related("user").get(digest=digest(text))
    except AccessToken.DoesNotExist:
        return None
    if not token.is_active or not token.user.is_active:
        return None
    _note_use(token)
    return token


def _note_use(token: AccessToken) -> None:
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_RESOLUTION:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USED_RESOLUTION)
        AccessToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def _check_scopes(user: User, wanted: set[str]) -> None:
    if not wanted or not wanted <= set(Scope.values):
        allowed = ", ".join(Scope.values)
        raise ServiceError("invalid_option", f"Scopes are a list of at least one of {allowed}.", field="scopes")
    if Scope.STAFF in wanted and not user.is_staff:
        raise ServiceError("invalid_option", "Only staff can have tokens with the staff scope.", field="scopes")


def _check_name(name: str) -> None:
    if not 1 <= len(name.strip()) <= 100 or not name.isprintable():
        raise ServiceError("invalid_option", "Give the token a name of 1 to 100 characters.", field="name")
