"""What an upload may be, and how many a user may start. Each refusal names its limit, its value and the use of it."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from separation.api.problems import Problem
from separation.models import Track
from separation.services.numbers import whole
from separation.uploads.models import Upload, UploadState
from separation.usage import stored_bytes

DISK_MARGIN = 64 * 1024 * 1024
ADVICE = {
    "max_upload_bytes": "Compress the file, to FLAC for instance, or cut it.",
    "quota_bytes_per_user": "Delete tracks that you no longer need.",
    "upload_bytes_per_day": "Go on when the uploads of the last 24 hours are older.",
    "upload_creations_per_minute": "Wait a minute, then try again.",
    "upload_max_unfinished": "Finish the uploads that you have begun, or end some.",
}


def check_creation(owner: User, length: int | None) -> None:
    """Raises `Problem` when the user may not start another upload of this length now."""
    _check_rate(owner)
    _check_unfinished(owner)
    if length is not None:
        check_length(owner, length)


def check_length(owner: User, length: int, *, received: int = 0) -> None:
    """Raises 413 beyond a size limit or the quota, 422 for an empty file, 507 for a full disk, 429 for the day's bytes.

    The `received` of the bytes are on the disk and counted already.
    """
    check_size(length)
    check_quota(owner, length - received)
    check_disk(length - received)


def check_size(length: int) -> None:
    """Raises 413 for a file that is larger than is taken here, 422 for an empty one."""
    if length > (most := whole("MAX_UPLOAD_BYTES")):
        raise limited(413, "too_large", "max_upload_bytes", most, length)
    if length == 0:
        raise Problem(422, "empty_file")


def check_quota(owner: User, more: int) -> None:
    """Raises 413 when `more` bytes than are counted would pass the storage quota, 429 when those of the last day."""
    quota = whole("QUOTA_BYTES_PER_USER")
    used = taken_bytes(owner) if quota else 0
    if quota and used + more > quota:
        raise limited(413, "quota_exceeded", "quota_bytes_per_user", quota, used)
    daily = whole("UPLOAD_BYTES_PER_DAY")
    sent = bytes_last_day(owner) if daily else 0
    if daily and sent + more > daily:
        raise limited(429, "quota_exceeded", "upload_bytes_per_day", daily, sent, retry_after=3600)


def check_disk(more: int) -> None:
    """Raises 507 when the staging area has no room for `more` bytes."""
    if shutil.disk_usage(Path(settings.STAGING_DIR)).free < more + DISK_MARGIN:
        raise Problem(507, "disk_full", headers={"Retry-After": "60"})


def taken_bytes(owner: User) -> int:
    """Bytes of the user's originals and stems, and what the unfinished uploads announce.

    A Track bears the id of its upload: one that is just being finished is not counted twice.
    """
    tracks = Track.objects.filter(owner=owner).values("pk")
    coming = unfinished(owner).exclude(pk__in=tracks).aggregate(n=Sum(Coalesce("length", "offset"), default=0))["n"]
    return stored_bytes(owner) + int(coming)


def bytes_last_day(owner: User) -> int:
    """Bytes of the uploads that the user started in the last 24 hours: received, or announced and still to come.

    One whose length is still unknown counts however old it is: it has no end that was measured against the limit.
    """
    started = Q(created_at__gt=timezone.now() - timedelta(days=1))
    recent = Upload.objects.filter(started | Q(state=UploadState.RECEIVING, length=None), owner=owner)
    return int(recent.aggregate(n=Sum(Coalesce("length", "offset"), default=0))["n"])


def unfinished(owner: User) -> QuerySet[Upload]:
    """The user's uploads that still take bytes."""
    return Upload.objects.filter(owner=owner, state=UploadState.RECEIVING)


def created_last_minute(owner: User) -> int:
    """How many uploads, of one piece or several, the user has started in the last minute."""
    return Upload.objects.filter(owner=owner, created_at__gt=timezone.now() - timedelta(minutes=1)).count()


def _check_rate(owner: User) -> None:
    most = whole("UPLOAD_CREATIONS_PER_MINUTE")
    if most and (used := created_last_minute(owner)) >= most:
        raise limited(429, "throttled", "upload_creations_per_minute", most, used, retry_after=60)


def _check_unfinished(owner: User) -> None:
    most = whole("UPLOAD_MAX_UNFINISHED")
    if most and (used := unfinished(owner).count()) >= most:
        raise limited(429, "quota_exceeded", "upload_max_unfinished", most, used, retry_after=60)


def limited(status: int, code: str, name: str, most: float, used: float, *, retry_after: int | None = None) -> Problem:
    """A refusal that names the limit. `limit` and `used` are in the limit's own unit."""
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    detail = f"The limit {name} is {most}; this would pass it (in use or asked for: {used}). {ADVICE[name]}"
    return Problem(status, code, detail, headers=headers, limit_name=name, limit=most, used=used)
