"""`Idempotency-Key`: a creating request that is sent twice is carried out once.

The first answer is kept for a day and given again. Another body under the same key is a 422, a request still
being worked on a 409. A request that failed leaves nothing, so it can be sent again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.response import Response

from separation.api.models import IdempotentRequest
from separation.api.problems import Problem

KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=15)
LONGEST_KEY = 255
REPLAYED = "Idempotent-Replayed"


def fingerprint(request: HttpRequest, body: Any) -> str:
    """SHA-256 of what makes two requests the same."""
    text = json.dumps([request.method, request.path, body], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def once(
    request: HttpRequest,
    user: User,
    body: Any,
    action: Callable[[], Response],
    *,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Response:
    """`action`'s response, or the one it gave before under the request's key. Without a key simply `action()`.

    `within` may be a transaction: what was done and that it was done are then kept together, or neither is.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return action()
    _check(key)
    record, mine = _claim(user, key, fingerprint(request, body))
    if not mine:
        return _replay(record)
    try:
        with within():
            response = action()
            _keep(record, response)
    except BaseException:  # after a commit the record is filled, and stays
        IdempotentRequest.objects.filter(pk=record.pk, status=None).delete()
        raise
    return response


def is_replay(response: Response) -> bool:
    """Whether `once` gave an answer of before rather than acting."""
    return REPLAYED in response.headers


def is_answered(request: HttpRequest, user: User) -> bool:
    """Whether a request of this key has been answered before, so that `once` will not act."""
    key = request.headers.get("Idempotency-Key")
    answered = IdempotentRequest.objects.filter(owner=user, status__isnull=False, created_at__gt=timezone.now() - KEPT)
    return key is not None and answered.filter(key=key).exists()


def forget_old() -> int:
    """Deletes answers that are no longer kept. Returns how many."""
    return IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]


def _check(key: str) -> None:
    if not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        detail = f"Idempotency-Key must have 1 to {LONGEST_KEY} printable ASCII characters."
        raise Problem(400, "invalid_header", detail, header="Idempotency-Key")


def _claim(user: User, key: str, mark: str) -> tuple[IdempotentRequest, bool]:
    """The record of this key, and whether it is ours to fill. Raises `Problem` on a conflict."""
    now = timezone.now()
    mine = IdempotentRequest.objects.filter(owner=user, key=key)
    mine.filter(created_at__lt=now - KEPT).delete()
    mine.filter(status__isnull=True, created_at__lt=now - ABANDONED).delete()
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(owner=user, key=key, fingerprint=mark, created_at=now), True
    except IntegrityError:
        record = mine.first()
    if record is None or (record.status is None and record.fingerprint == mark):
        raise Problem(409, "idempotency_conflict", headers={"Retry-After": "2"})
    if record.fingerprint != mark:
        raise Problem(422, "idempotency_mismatch")
    return record, False


def _keep(record: IdempotentRequest, response: Response) -> None:
    """Fills the record in, unless another request has taken it for abandoned meanwhile."""
    IdempotentRequest.objects.filter(pk=record.pk).update(
        status=response.status_code,
        body=json.loads(json.dumps(response.data, default=str)),
        location=response.headers.get("Location", ""),
    )


def _replay(record: IdempotentRequest) -> Response:
    response = Response(record.body, status=record.status)
    response.headers[REPLAYED] = "true"
    if record.location:
        response.headers["Location"] = record.location
    return response
