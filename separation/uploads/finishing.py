"""The last step of an upload: checksum, quota, and handing the file over to become a Track."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from memory.streaming import StreamingFileHandler
from separation.api.problems import Problem, from_service_error
from separation.errors import ServiceError
from separation.models import Track
from separation.services import create_track
from separation.services.durability import durable
from separation.uploads.models import Upload, UploadState
from separation.uploads.parts import Part

KEPT_AFTER = timedelta(hours=24)
logger = logging.getLogger(__name__)


def finish(upload: Upload, part: Part) -> None:
    """Makes the Track of an upload that is all there; the caller holds the part. Changes `upload` accordingly.

    Raises `Problem` when the file is refused for good (the upload is then rejected and its bytes deleted) or
    when it cannot be taken now (503, 507: the upload stays complete and is finished later).
    """
    hand_over = part.path.with_suffix(".whole")
    try:
        track = _hand_over(upload, part, hand_over, _checked_sha256(upload, part.path))
    except ServiceError as error:
        if error.http_status < 500:
            _reject(upload, part, error)
        raise from_service_error(error) from error
    finally:
        hand_over.unlink(missing_ok=True)
    upload.state, upload.track = UploadState.FINISHED, track
    part.remove()
    logger.info("upload finished", extra={"upload": upload.id, "track": track.id, "bytes": upload.length})


def _hand_over(upload: Upload, part: Part, hand_over: Path, sha256: str) -> Track:
    """The Track, which bears the upload's id: one that a crash separated from its upload is found again.

    The service gets a second name of the file, so that until the Track exists the part still does.
    """
    track = Track.objects.filter(pk=upload.pk, owner=upload.owner).first()
    if track is None:
        given = _second_name(part.path, hand_over)
        track = create_track(upload.owner, given, upload.filename, sha256=sha256, track_id=upload.pk)
    _end(upload, UploadState.FINISHED, track=track)
    return track


def _second_name(path: Path, hand_over: Path) -> Path:
    """`hand_over` as another name of the same file; the file itself where the file system has no second names."""
    hand_over.unlink(missing_ok=True)
    try:
        os.link(path, hand_over)
    except OSError:
        return path
    return hand_over


def _checked_sha256(upload: Upload, path: Path) -> str:
    """The announced SHA-256 once it has been found true; "" when none was announced."""
    if upload.sha256 and StreamingFileHandler().sha256(path) != upload.sha256:
        raise ServiceError("checksum_mismatch", "The file does not have the SHA-256 that was announced. Upload again.")
    return upload.sha256


def _reject(upload: Upload, part: Part, error: ServiceError) -> None:
    _end(upload, UploadState.REJECTED, reason=error.code[:32], message=error.message)
    upload.state, upload.reason, upload.message = UploadState.REJECTED, error.code, error.message
    part.remove()
    logger.info("upload rejected", extra={"upload": upload.id, "reason": error.code})


def _end(upload: Upload, state: UploadState, **values: object) -> None:
    """Durably, since the part is deleted next and the client lets go of its copy."""
    row = Upload.objects.filter(pk=upload.pk, state=UploadState.RECEIVING)
    with durable():
        ended = row.update(state=state, expires_at=timezone.now() + KEPT_AFTER, **values) == 1
    if not ended:
        raise Problem(410, "upload_gone")
