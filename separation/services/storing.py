"""Files on their way into storage and out of it, whatever the storage is.

Owns the hand-over of a local file to Django's storage API: moved when the storage is a folder on this
machine, streamed when it is not. Owns no rows.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import QuerySet

from memory.conf import memory_settings
from separation.errors import ReasonCode, ServiceError

logger = logging.getLogger(__name__)


class StreamedFile(File):
    """An open local file that storage reads in chunks."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"), name=path.name)
        self._path = path

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        return super().chunks(chunk_size or memory_settings().streaming_chunk_size)


class MovedFile(StreamedFile):
    """A local file that is no longer needed where it is: a folder storage takes it by renaming."""

    def temporary_file_path(self) -> str:
        """Storage back ends that can will move this path instead of reading the file."""
        return str(self._path)


def store(storage: Storage, name: str, source: File) -> str:
    """Put `source` into storage, durably; returns the name it got, which is `name` unless that was taken."""
    with source:
        os.fsync(source.fileno())
        saved = storage.save(name, source)
    if isinstance(storage, FileSystemStorage):
        path = Path(storage.path(saved))
        _sync(path)  # a copy of it, if it came from another file system
        _sync(path.parent)
    return saved


def _sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def local_path(storage: Storage, name: str) -> Path | None:
    """Where the file lies on this machine, or None when it has to be fetched."""
    return Path(storage.path(name)) if isinstance(storage, FileSystemStorage) else None


def remove(storage: Storage, names: Iterable[str]) -> None:
    """Delete files; one that cannot be deleted is logged and left to `retention.remove_orphans`."""
    for name in names:
        try:
            storage.delete(name)
            _remove_empty_folder(storage, name)
        except OSError:
            logger.warning("could not delete %s from storage", name, exc_info=True)


def take_back(rows: QuerySet[Any], names: Sequence[str]) -> None:
    """Delete files whose rows were not written. One that a row of `rows` knows stays: who is interrupted may have
    committed before. While the database does not say, all stay, for `retention.remove_orphans` to judge.
    """
    try:
        known = set(rows.filter(file__in=names).values_list("file", flat=True))
    except DatabaseError:
        logger.warning("could not look which files are known", exc_info=True)
        return
    remove(rows.model._meta.get_field("file").storage, [name for name in names if name not in known])


def remove_after_commit(storage: Storage, name: str | None) -> None:
    """Delete a file once the transaction that dropped its row is certain."""
    if name:
        transaction.on_commit(lambda: remove(storage, [name]))


def _remove_empty_folder(storage: Storage, name: str) -> None:
    path = local_path(storage, name)
    if path is None:
        return
    try:
        path.parent.rmdir()
    except OSError:
        return  # not empty, or gone already


def forget_file(instance: Any, **_: Any) -> None:
    """post_delete of rows that own a file: however the row went, its file goes with it."""
    remove_after_commit(instance.file.storage, instance.file.name)


def storage_error(error: OSError) -> ServiceError:
    """The reason behind a failed write: a full disk is told apart from everything else."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ServiceError(ReasonCode.DISK_FULL, http_status=507)
    return ServiceError(ReasonCode.STORAGE_FAILED, http_status=503)
