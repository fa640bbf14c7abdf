"""Creating, filling, finishing and ending uploads. Owns what is kept; knows nothing of HTTP beyond `Problem`.

The order of things is what makes it safe: bytes reach the disk, then the offset moves (a conditional UPDATE,
under the part's lock). A crash in between leaves bytes that nobody counts, cut off before the next append. After a
power cut the offset may be an earlier one (see `separation.services.durability`): never one beyond the bytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from memory.rooms import live_hosts, live_processes
from memory.streaming import StreamingFileHandler
from separation.api.problems import Problem, not_found
from separation.services.names import clean_name
from separation.services.numbers import number, whole
from separation.services.turns import take_turn
from separation.uploads import limits
from separation.uploads.body import GuardedBody
from separation.uploads.finishing import finish
from separation.uploads.housekeeping import TOMBSTONE, expire_uploads
from separation.uploads.models import Upload, UploadState
from separation.uploads.parts import Part
from separation.uploads.protocol import CHECKSUM_MISMATCH, Checksum, Creation, text_value

CHECKPOINT_BYTES = 64 * 1024 * 1024
logger = logging.getLogger(__name__)

__all__ = [
    "create_upload",
    "declare_length",
    "expire_uploads",
    "find",
    "part_of",
    "repeated",
    "require_not_rejected",
    "settle",
    "terminate",
    "write",
]


def create_upload(owner: User, wanted: Creation) -> Upload:
    """A new upload of the owner with no bytes yet, and no file either. Raises `Problem` when a limit is reached."""
    name = text_value(wanted.values, "filename", "name")
    sha256 = text_value(wanted.values, "sha256").lower()
    if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise Problem(400, "invalid_metadata", "The metadata value sha256 must be 64 hex digits.")
    with transaction.atomic():
        take_turn(owner)
        limits.check_creation(owner, wanted.length)
        upload = Upload.objects.create(
            owner=owner,
            host=settings.HOST_NAME,
            length=wanted.length,
            metadata=wanted.metadata,
            filename=clean_name(name),
            sha256=sha256,
            expires_at=timezone.now() + lifetime(),
        )
    logger.info("upload created", extra={"upload": upload.id, "user": owner.pk, "bytes": wanted.length})
    return upload


def lifetime() -> timedelta:
    """How long an upload may lie untouched."""
    return timedelta(hours=number("RETENTION_HOURS_UPLOADS"))


def find(owner_id: int, upload_id: UUID) -> Upload:
    """The owner's upload. Raises 404 when it is someone else's or nobody's, 410 when it has ended, 503 elsewhere."""
    try:
        upload = Upload.objects.get(owner_id=owner_id, pk=upload_id)
    except Upload.DoesNotExist:
        raise not_found() from None
    if upload.state in (UploadState.TERMINATED, UploadState.EXPIRED) or _has_expired(upload):
        raise Problem(410, "upload_gone")
    return upload


def _has_expired(upload: Upload) -> bool:
    return upload.state == UploadState.RECEIVING and upload.expires_at <= timezone.now()


def part_of(upload: Upload) -> Part:
    """The upload's bytes. Raises 503 when another host has them."""
    if upload.host != settings.HOST_NAME:
        raise Problem(503, "upload_elsewhere", headers={"Retry-After": "1"})
    return Part.of(upload.host, upload.id)


def settle(upload: Upload) -> Upload:
    """The upload with an offset nobody is about to move: whoever is still writing to it is asked to stop first.

    Also where an upload whose last bytes came just before a crash gets finished.
    """
    if upload.state != UploadState.RECEIVING:
        return upload
    part = part_of(upload)
    if not part.path.exists() and upload.offset == 0:
        return upload
    with part.locked(number("UPLOAD_LOCK_WAIT_SECONDS")):
        upload = _recovered(upload, part)
        _finish_whole(upload, part)
    return upload


def declare_length(upload: Upload, length: int) -> None:
    """Sets a deferred length, once. Raises 400 when it differs from the known one, 413 beyond a limit."""
    if upload.length == length:
        return
    if upload.length is not None or length < upload.offset:
        raise Problem(400, "invalid_header", "The length of this upload is already known.", header="Upload-Length")
    limits.check_length(upload.owner, length, received=upload.offset)
    if Upload.objects.filter(pk=upload.pk, length__isnull=True).update(length=length) != 1:
        raise Problem(409, "offset_mismatch")
    upload.length = length


def write(
    upload: Upload,
    body: GuardedBody,
    *,
    offset: int,
    announced: int,
    length: int | None = None,
    checksum: Checksum | None = None,
) -> Upload:
    """Appends a body at `offset`; finishes the upload when all is there. Returns it as it then stands.

    Raises 409 when the offset is not where the upload stands, 413 when the body would pass its end, 413 or 429 when
    a body of an upload of unknown length would pass a limit, 460 when the checksum is wrong (nothing of the body is
    kept), 507 when the disk is full, and 400, 408 or 409 when the body ended early, after keeping what came. One that
    has ended meanwhile is answered by `repeated`.
    """
    part = part_of(upload)
    if offset < upload.offset:  # certainly stale: no reason to disturb whoever is writing
        raise _mismatch(upload)
    with part.locked(number("UPLOAD_LOCK_WAIT_SECONDS")) as descriptor:
        upload = _recovered(upload, part)
        if upload.state != UploadState.RECEIVING:
            return repeated(upload, offset=offset, announced=announced)
        if offset != upload.offset:
            raise _mismatch(upload)
        if length is not None:
            declare_length(upload, length)
        _check_room(upload, announced)
        _Append(upload, part, descriptor, checksum).run(body, announced)
        _finish_whole(upload, part)
    _raise_if_short(upload, body, announced)
    return upload


def repeated(upload: Upload, *, offset: int, announced: int) -> Upload:
    """An upload that has ended: its last body sent again is answered like the first time, anything more does not fit.

    Raises 422 when the file was refused, 409 when the offset is not where the upload stands, 413 for more bytes.
    """
    require_not_rejected(upload)
    if offset != upload.offset:
        raise _mismatch(upload)
    if announced:
        raise Problem(413, "too_large", "The upload already has all its bytes.")
    return upload


def require_not_rejected(upload: Upload) -> None:
    """Raises 422, with the reason, when the file was refused."""
    if upload.state == UploadState.REJECTED:
        raise Problem(422, upload.reason, upload.message, headers={"Upload-Offset": str(upload.offset)})


def _finish_whole(upload: Upload, part: Part) -> None:
    if upload.is_complete and upload.state == UploadState.RECEIVING:
        finish(upload, part)


def _recovered(upload: Upload, part: Part) -> Upload:
    """The row as it is now that the lock is held; its offset never beyond what the disk has."""
    try:
        upload = find(upload.owner_id, upload.id)
    except Problem:
        part.remove()
        raise
    size = part.size
    if upload.state == UploadState.RECEIVING and size < upload.offset:
        logger.error("the disk has less than was kept", extra={"upload": upload.id, "bytes": size})
        Upload.objects.filter(pk=upload.pk, offset=upload.offset).update(offset=size)
        upload.offset = size
    elif upload.state != UploadState.RECEIVING:
        part.remove()
    return upload


def _mismatch(upload: Upload) -> Problem:
    return Problem(409, "offset_mismatch", headers={"Upload-Offset": str(upload.offset)}, offset=upload.offset)


def _check_room(upload: Upload, announced: int) -> None:
    room = whole("MAX_UPLOAD_BYTES") - upload.offset if upload.remaining is None else upload.remaining
    if announced > room:
        headers = {"Upload-Offset": str(upload.offset)}
        raise Problem(413, "too_large", f"Only {room} bytes more belong to this upload.", headers=headers)
    if upload.length is None:
        limits.check_quota(upload.owner, announced)
    limits.check_disk(announced)


def _raise_if_short(upload: Upload, body: GuardedBody, announced: int) -> None:
    if body.received < announced:
        status = {"upload_superseded": 409, "upload_too_slow": 408}.get(body.ended, 400)
        code = body.ended or "upload_incomplete_body"
        raise Problem(status, code, headers={"Upload-Offset": str(upload.offset)})


class _Append:
    """One body going into a part: bytes, sync, offset, in this order, also every so often in between.

    With a checksum nothing counts before the whole body has been checked.
    """

    def __init__(self, upload: Upload, part: Part, descriptor: int, checksum: Checksum | None) -> None:
        self.upload, self.part, self.descriptor, self.checksum = upload, part, descriptor, checksum
        self.start = upload.offset
        self.pending = 0
        self.digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None

    def run(self, body: GuardedBody, announced: int) -> None:
        try:
            StreamingFileHandler().append(
                body,
                self.part.path,
                offset=self.start,
                limit=announced,
                on_chunk=self._on_chunk,
                sync=False,
                early=bool(settings.UPLOAD_SYNC),
            )
        except OSError as error:
            self._forget()
            raise _disk_problem(self.upload) from error
        self._check()
        if self.pending:
            self._commit()

    def _on_chunk(self, chunk: bytes) -> None:
        self.pending += len(chunk)
        if self.digest is not None:
            self.digest.update(chunk)
        elif self.pending >= CHECKPOINT_BYTES:
            self._commit()

    def _check(self) -> None:
        if self.checksum and self.digest and not self.checksum.matches(self.digest.digest()):
            self._forget()
            raise Problem(CHECKSUM_MISMATCH, "checksum_mismatch", headers={"Upload-Offset": str(self.upload.offset)})

    def _commit(self) -> None:
        """Moves the offset over what is pending. Losing the row to another writer means losing these bytes."""
        if settings.UPLOAD_SYNC:
            os.fdatasync(self.descriptor)
        old, new = self.upload.offset, self.upload.offset + self.pending
        row = Upload.objects.filter(pk=self.upload.pk, offset=old, state=UploadState.RECEIVING)
        if row.update(offset=new, expires_at=timezone.now() + lifetime()) != 1:
            self._forget()
            raise Problem(410, "upload_gone")
        self.upload.offset, self.pending = new, 0

    def _forget(self) -> None:
        self.pending = 0
        if self.part.path.exists():
            os.ftruncate(self.descriptor, self.upload.offset)


def _disk_problem(upload: Upload) -> Problem:
    headers = {"Upload-Offset": str(upload.offset), "Retry-After": "60"}
    return Problem(507, "disk_full", headers=headers)


def terminate(upload: Upload) -> None:
    """Ends an upload and deletes its bytes, after asking whoever writes to it to stop. A Track made of it stays.

    The bytes on a host that is gone are left to `housekeeping`. Raises 503 when another that runs has them.
    """
    if upload.host != settings.HOST_NAME and _is_gone(upload.host):
        _terminate(upload)
        return
    part = part_of(upload)
    with part.locked(number("UPLOAD_LOCK_WAIT_SECONDS")):
        _terminate(upload)
        part.remove()


def _is_gone(host: str) -> bool:
    """Whether nothing has been heard of the host for minutes."""
    return not (live_hosts().filter(pk=host).exists() or live_processes().filter(host_id=host).exists())


def _terminate(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).update(state=UploadState.TERMINATED, expires_at=timezone.now() + TOMBSTONE)
    logger.info("upload terminated", extra={"upload": upload.id})
