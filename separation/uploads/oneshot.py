"""Files that came in one piece: made tracks of, and put on record beside the resumable uploads, taken or refused.

So the limits count them like the others, and the admin shows what became of them.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from separation.errors import ServiceError
from separation.models import Track
from separation.services import create_track
from separation.services.names import clean_name
from separation.services.turns import take_turn
from separation.uploads import limits
from separation.uploads.finishing import KEPT_AFTER
from separation.uploads.models import Upload, UploadState


def take_file(owner: User, path: Path, name: str, *, sha256: str = "", move: bool = True) -> Track:
    """The track of the file at `path`, which with `move` is then no longer there.

    Raises `Problem` when it would pass a limit, and the `ServiceError` of `create_track`. What is refused for
    other reasons than the file itself is not put on record.
    """
    upload = _begin(owner, name, path.stat().st_size)
    try:
        track = create_track(owner, path, name, move=move, sha256=sha256, track_id=upload.pk)
    except ServiceError as error:
        if error.field == "file" and error.http_status < 500:
            _end(upload, UploadState.REJECTED, reason=error.code[:32], message=error.message)
        else:
            upload.delete()
        raise
    except BaseException:
        _forget(upload)
        raise
    _end(upload, UploadState.FINISHED, track=track)
    return track


def _begin(owner: User, name: str, size: int) -> Upload:
    """On record while it is taken, to be counted with what else comes in then. One that a crash leaves expires."""
    with transaction.atomic():
        take_turn(owner)
        limits.check_creation(owner, None)
        limits.check_quota(owner, size)
        return Upload.objects.create(
            owner=owner,
            host=settings.HOST_NAME,
            length=size,
            filename=clean_name(name),
            expires_at=timezone.now() + KEPT_AFTER,
        )


def _forget(upload: Upload) -> None:
    """Unless its track was made after all: then it ends as one that a crash leaves."""
    with suppress(DatabaseError):
        Upload.objects.filter(pk=upload.pk).exclude(pk__in=Track.objects.filter(pk=upload.pk).values("pk")).delete()


def _end(upload: Upload, state: UploadState, **outcome: Any) -> None:
    expires_at = timezone.now() + KEPT_AFTER
    Upload.objects.filter(pk=upload.pk).update(offset=upload.length, state=state, expires_at=expires_at, **outcome)
