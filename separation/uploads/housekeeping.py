"""What becomes of uploads that nobody goes on with: finished if whole, ended when their time is up, then forgotten.

Each host looks after the uploads in its own staging area, and any host after those that another has left for a day:
that one is gone, or came back under another name. Called regularly; an upload that is being written to is left alone.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from memory.streaming import StreamingFileHandler
from separation.api.problems import Problem
from separation.uploads.finishing import finish
from separation.uploads.models import Upload, UploadState
from separation.uploads.parts import Part, folder

TOMBSTONE = timedelta(hours=24)
FORSAKEN = timedelta(days=1)
STRAY_SECONDS = 3600.0
FORM_SECONDS = 24 * 3600.0
BATCH = 200
logger = logging.getLogger(__name__)


def expire_uploads() -> int:
    """One pass. Returns how many uploads ended because their time was up."""
    _finish_whole()
    expired = sum(_expire(upload) for upload in _due())
    _forget()
    remove_strays()
    remove_interrupted_forms()
    return expired


def _mine() -> dict[str, str]:
    return {"host": settings.HOST_NAME, "state": UploadState.RECEIVING}


def _finish_whole() -> None:
    """Uploads whose last byte came just before a crash, or while the server was too busy for them."""
    whole = Upload.objects.filter(**_mine(), offset=F("length"), expires_at__gt=timezone.now())
    for upload in whole.select_related("owner")[:BATCH]:
        part = Part.of(upload.host, upload.id)
        try:
            with part.locked(0):
                if Upload.objects.filter(pk=upload.pk, **_mine()).exists() and part.size == upload.length:
                    finish(upload, part)
        except Problem as problem:
            logger.info("upload not finished yet", extra={"upload": upload.id, "reason": problem.code})


def _due() -> list[Upload]:
    now = timezone.now()
    over = Q(host=settings.HOST_NAME, expires_at__lte=now) | Q(expires_at__lte=now - FORSAKEN)
    return list(Upload.objects.filter(over, state=UploadState.RECEIVING).order_by("expires_at")[:BATCH])


def _expire(upload: Upload) -> bool:
    part = Part.of(upload.host, upload.id)
    try:
        with part.locked(0):
            row = Upload.objects.filter(pk=upload.pk, state=UploadState.RECEIVING, expires_at__lte=timezone.now())
            ended = row.update(state=UploadState.EXPIRED, expires_at=timezone.now() + TOMBSTONE) == 1
            if ended:
                part.remove()
    except Problem:
        return False
    return ended


def _forget() -> None:
    """Rows that only stood to answer 410."""
    over = Upload.objects.exclude(state=UploadState.RECEIVING).filter(expires_at__lte=timezone.now())
    Upload.objects.filter(pk__in=list(over.values_list("pk", flat=True)[: BATCH * 10])).delete()


def remove_strays(*, older_than: float = STRAY_SECONDS, now: float | None = None) -> int:
    """Deletes files that no unfinished upload knows, once untouched for `older_than` seconds in this host's staging
    area, for a day in another's. Returns how many."""
    now = time.time() if now is None else now
    own, removed = folder(settings.HOST_NAME), 0
    for path in Path(settings.STAGING_DIR).glob("*/uploads/*.*"):
        age = older_than if path.parent == own else FORSAKEN.total_seconds()
        if _touched(path) < now - age and not _is_known(path.stem):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _touched(path: Path) -> float:
    """When it was last written to, seconds since the epoch. Gone at this moment: never long ago."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def remove_interrupted_forms() -> list[Path]:
    """Deletes the files of forms that were being received when their web process was ended. Returns which."""
    folder = Path(settings.FILE_UPLOAD_TEMP_DIR)
    return StreamingFileHandler().remove_stale(folder, FORM_SECONDS, suffixes=("",))  # it holds nothing else


def _is_known(stem: str) -> bool:
    try:
        return Upload.objects.filter(pk=UUID(stem), state=UploadState.RECEIVING).exists()
    except ValueError:
        return False
