"""Endpoints and the delivery of messages to them: signed, tried again with growing pauses, logged.

`deliver_due` is called by whoever runs regularly; each message is claimed by a conditional UPDATE, so several
may call it at once.
"""

from __future__ import annotations

import json
import logging
import random
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from separation.errors import ServiceError
from separation.models import FINISHED, SeparationJob
from separation.services.numbers import number, whole
from separation.services.turns import take_turn
from separation.webhooks import sending
from separation.webhooks.models import SECRET_PREFIX, Delivery, DeliveryState, Endpoint, new_secret
from separation.webhooks.senders import Senders
from separation.webhooks.signing import signature_headers

PAUSES = (5, 60, 300, 1800, 7200, 18000, 36000)
"""Seconds before the second try, the third, and so on; the last one repeats."""
MAX_PER_USER = 20
DISABLED_BY = 410
KEPT = timedelta(days=30)
LONGEST_URL = 2000
Post = Callable[..., int]
logger = logging.getLogger(__name__)


def check_url(url: object, *, field: str = "webhook_url") -> str:
    """The address, if messages can be sent there. Raises `ServiceError` (webhook_target) about `field`."""
    if not isinstance(url, str) or len(url) > LONGEST_URL:
        raise ServiceError("webhook_target", field=field)
    try:
        parts = sending.parsed(url)
        _refuse_private_literal(str(parts.hostname))
    except sending.Undeliverable as error:
        raise ServiceError("webhook_target", f"Webhook: {error}.", field=field) from error
    return url


def _refuse_private_literal(host: str) -> None:
    """Names are resolved when a message is sent; an address can be judged now."""
    try:
        address = ip_address(host)
    except ValueError:
        return
    if not settings.WEBHOOK_ALLOW_PRIVATE and not sending.is_public(address):
        raise sending.Undeliverable("the host is not on the public internet")


def add_endpoint(owner: User, url: object, *, job: SeparationJob | None = None) -> Endpoint:
    """A new endpoint for all the owner's jobs, or for one. Raises `ServiceError`."""
    checked = check_url(url, field="webhook_url" if job else "url")
    with transaction.atomic():
        if job is None:
            take_turn(owner)
            _check_number(owner)
        endpoint = Endpoint.objects.create(
            owner=owner, url=checked, job=job, secret=job_secret(owner) if job else new_secret()
        )
    endpoint.refresh_from_db(fields=["created_at"])
    return endpoint


def _check_number(owner: User) -> None:
    if list_endpoints(owner).count() >= MAX_PER_USER:
        raise ServiceError("quota_exceeded", f"A user can have {MAX_PER_USER} webhooks.", http_status=409)


def job_secret(owner: User) -> str:
    """The key that messages to webhooks of single jobs are signed with: one per user, known before any is made."""
    key = salted_hmac("stemsite.webhooks.job", str(owner.pk), algorithm="sha256").digest()
    return SECRET_PREFIX + b64encode(key).decode()


def list_endpoints(owner: User) -> QuerySet[Endpoint]:
    """The owner's endpoints for all jobs, newest first."""
    return Endpoint.objects.filter(owner=owner, job__isnull=True)


def remove_endpoint(owner: User, endpoint_id: UUID) -> bool:
    """Deletes one of the owner's endpoints and what waits for it. False when there is none of this id."""
    return list_endpoints(owner).filter(pk=endpoint_id).delete()[0] > 0


def job_changed(job_id: UUID, state: str) -> int:
    """Queues the messages about a job that has just ended. Returns how many."""
    if state not in FINISHED:
        return 0
    job = SeparationJob.objects.filter(pk=job_id).first()
    if job is None:
        return 0
    wanted = Endpoint.objects.filter(Q(job=job) | Q(job__isnull=True), owner=job.owner_id, active=True)
    now = timezone.now()
    event = f"job.{state}"
    payload = {"type": event, "timestamp": now.isoformat(), "data": _data(job, state)}
    rows = [Delivery(endpoint=e, event=event, payload=payload, next_attempt_at=now) for e in wanted]
    return len(Delivery.objects.bulk_create(rows))


def _data(job: SeparationJob, state: str) -> dict[str, Any]:
    return {
        "job": str(job.pk),
        "state": state,
        "reason": job.reason,
        "message": job.message,
        "track": str(job.track_id),
        "model": job.model,
        "url": f"/api/v1/jobs/{job.pk}/",
    }


def deliver_due(
    limit: int = 20, *, owner: int | None = None, post: Post = sending.post, clock: Callable[[], float] = time.monotonic
) -> int:
    """Sends up to `limit` messages whose time has come, of one owner or of all. Returns how many were tried.

    Stops early after a message once all of them together took as long as one may.
    """
    tried, end = 0, clock() + number("WEBHOOK_TIMEOUT_SECONDS")
    due = _due() if owner is None else _due().filter(endpoint__owner=owner)
    for delivery in due.select_related("endpoint").order_by("next_attempt_at")[:limit]:
        if _claim(delivery):
            _try(delivery, post)
            tried += 1
        if clock() >= end:
            break
    return tried


def _due() -> QuerySet[Delivery]:
    due = Delivery.objects.filter(state=DeliveryState.WAITING, next_attempt_at__lte=timezone.now())
    return due.filter(endpoint__active=True)


def waiting_owners() -> list[int]:
    """Whose messages are due."""
    return list(_due().order_by().values_list("endpoint__owner", flat=True).distinct())


_senders = Senders(waiting_owners, lambda owner: deliver_due(owner=owner))


def deliver_all() -> None:
    """Sends what is due until nothing is, in a few threads."""
    _senders.run()


def is_due() -> bool:
    """Whether the time of a message has come."""
    return _due().exists()


def forget_old() -> int:
    """Deletes the log of deliveries that began more than 30 days ago, but those that are still to be made.
    Returns how many rows went."""
    old = Delivery.objects.filter(created_at__lt=timezone.now() - KEPT)
    return old.exclude(state=DeliveryState.WAITING, endpoint__active=True).delete()[0]


def _claim(delivery: Delivery) -> bool:
    """Takes the next try for us, unless the endpoint was switched off: who looks later finds it due after our time."""
    lease = timezone.now() + timedelta(seconds=number("WEBHOOK_TIMEOUT_SECONDS") * 3 + 30)
    # Not by a join: after waiting for another's claim, PostgreSQL looks again at this row's own columns only.
    row = _at_its_try(delivery).filter(endpoint__in=Endpoint.objects.filter(active=True))
    claimed = row.update(attempts=F("attempts") + 1, next_attempt_at=lease, last_attempt_at=timezone.now())
    delivery.attempts += 1
    return claimed == 1


def _at_its_try(delivery: Delivery) -> QuerySet[Delivery]:
    """The message's row while it waits and nobody has begun another try."""
    return Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING, attempts=delivery.attempts)


def _try(delivery: Delivery, post: Post) -> None:
    """One try. That the message arrived is noted whoever else tries; that it did not, only while it is our try."""
    status, error = None, ""
    try:
        status = _send(delivery, post)
    except sending.Undeliverable as problem:
        error = str(problem)[:255]
    if status is not None and 200 <= status < 300:
        Delivery.objects.filter(pk=delivery.pk).update(state=DeliveryState.DELIVERED, status=status, error="")
        return
    _at_its_try(delivery).update(status=status, error=error or f"answered {status}", **_what_next(delivery, status))
    logger.info("webhook not delivered", extra={"reason": error or status, "job": delivery.payload["data"]["job"]})


def _what_next(delivery: Delivery, status: int | None) -> dict[str, Any]:
    if status == DISABLED_BY:  # the receiver says it is gone for good
        Endpoint.objects.filter(pk=delivery.endpoint_id).update(active=False)
    if status == DISABLED_BY or delivery.attempts >= whole("WEBHOOK_MAX_ATTEMPTS"):
        return {"state": DeliveryState.FAILED}
    pause = PAUSES[min(delivery.attempts, len(PAUSES)) - 1] * random.uniform(1.0, 1.2)
    return {"next_attempt_at": timezone.now() + timedelta(seconds=pause)}


def _send(delivery: Delivery, post: Post) -> int:
    body = json.dumps(delivery.payload, separators=(",", ":")).encode()
    headers = signature_headers(delivery.endpoint.secret, f"msg_{delivery.pk.hex}", int(time.time()), body)
    return post(
        delivery.endpoint.url,
        body,
        {**headers, "User-Agent": "Stemsite-Webhooks/1"},
        timeout=number("WEBHOOK_TIMEOUT_SECONDS"),
        allow_private=bool(settings.WEBHOOK_ALLOW_PRIVATE),
    )
