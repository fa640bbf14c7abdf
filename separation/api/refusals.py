"""Files that came in one piece and were not taken, on record for the admin beside the resumable uploads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from separation.errors import ServiceError
from separation.services.names import clean_name
from separation.uploads.finishing import KEPT_AFTER
from separation.uploads.models import Upload, UploadState


@contextmanager
def refusals_on_record(owner: User, name: str, path: Path) -> Iterator[None]:
    """Notes why the file at `path` is refused in the block, as an upload that was rejected; what fails for other
    reasons than the file is not noted."""
    size = path.stat().st_size
    try:
        yield
    except ServiceError as error:
        if error.field == "file" and error.http_status < 500:
            _note(owner, name, size, error)
        raise


def _note(owner: User, name: str, size: int, error: ServiceError) -> None:
    Upload.objects.create(
        owner=owner,
        host=settings.HOST_NAME,
        length=size,
        offset=size,
        filename=clean_name(name),
        state=UploadState.REJECTED,
        reason=error.code[:32],
        message=error.message,
        expires_at=timezone.now() + KEPT_AFTER,
    )
