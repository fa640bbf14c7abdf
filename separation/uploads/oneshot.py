"""Files that came in one piece: made tracks of, and put on record beside the resumable uploads, taken or refused.

So the limits count them like the others, and the admin shows what became of them.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from separation.errors import ServiceError
from separation.models import Track
from separation.services import create_track
from separation.services.names import clean_name
from separation.uploads import limits
from separation.uploads.finishing import KEPT_AFTER
from separation.uploads.models import Upload, UploadState


def take_file(owner: User, path: Path, name: str, *, sha256: str = "") -> Track:
    """The track of the file at `path`, which is then no longer there.

    Raises `Problem` when its bytes would pass a limit, and the `ServiceError` of `create_track`. What is refused for
    other reasons than the file itself is not put on record.
    """
    size = path.stat().st_size
    limits.check_quota(owner, size)
    try:
        track = create_track(owner, path, name, sha256=sha256)
    except ServiceError as error:
        if error.field == "file" and error.http_status < 500:
            _note(owner, name, size, state=UploadState.REJECTED, reason=error.code[:32], message=error.message)
        raise
    _note(owner, name, size, id=track.pk, state=UploadState.FINISHED, track=track)
    return track


def _note(owner: User, name: str, size: int, **outcome: Any) -> None:
    Upload.objects.create(
        owner=owner,
        host=settings.HOST_NAME,
        length=size,
        offset=size,
        filename=clean_name(name),
        expires_at=timezone.now() + KEPT_AFTER,
        **outcome,
    )
