"""S3 as a storage that keeps this project's promises: bounded memory, reads from anywhere, errors that callers know.

django-storages sends ten parts of 8 MB at a time for each file and reads a whole object into memory before its first
byte is given. Here one part is held for a file on its way in, and one chunk for one on its way out. Chosen for
`DEFAULT_STORAGE` with the backend `storages.backends.s3.S3Storage`. Needs boto3.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, cast

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody
from django.core.files import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

from memory.quantities import MIB

ABSENT = {"404", "NoSuchKey", "NotFound"}


@contextmanager
def as_os_errors(name: str) -> Iterator[None]:
    """What S3 or the line to it refuses, as the `OSError` that a disk would give."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ABSENT:
            raise FileNotFoundError(errno.ENOENT, "not in storage", name) from error
        raise OSError(errno.EIO, str(error), name) from error
    except (Boto3Error, BotoCoreError) as error:
        raise OSError(errno.EIO, str(error), name) from error


class ObjectReader(io.RawIOBase):
    """An object as a file to read. A seek costs nothing; reading on fetches from there, as it is read."""

    def __init__(self, stored: Any, name: str) -> None:
        super().__init__()
        self._stored, self._name = stored, name
        self._position = 0
        self._body: StreamingBody | None = None
        with as_os_errors(name):
            self._size = int(stored.content_length)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        position = max(0, base + offset)
        if position != self._position:
            self._hang_up()
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._position >= self._size or not view:
            return 0
        with as_os_errors(self._name):
            data = self._from_here().read(len(view))
        if not data:
            raise OSError(errno.EIO, "storage ended before the file did", self._name)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _from_here(self) -> StreamingBody:
        if self._body is None:
            self._body = self._stored.get(Range=f"bytes={self._position}-")["Body"]
        return self._body

    def _hang_up(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._hang_up()
        super().close()


class FrugalS3Storage(S3Storage):
    """django-storages' S3 with one part in memory at a time, ranged reads and `OSError`s."""

    def get_default_settings(self) -> dict[str, Any]:
        one_at_a_time = TransferConfig(use_threads=False)
        return {**super().get_default_settings(), "transfer_config": one_at_a_time, "max_memory_size": MIB}

    def _open(self, name: str, mode: str = "rb") -> Any:
        if mode != "rb" or self.gzip:
            return super()._open(name, mode)
        stored = self.bucket.Object(self._normalize_name(clean_name(name)))
        return File(cast(IO[bytes], ObjectReader(stored, name)), name)

    def _save(self, name: str, content: File) -> str:
        with as_os_errors(name):
            return str(super()._save(name, content))

    def delete(self, name: str) -> None:
        with as_os_errors(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        with as_os_errors(name):
            return bool(super().exists(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with as_os_errors(path):
            folders, files = super().listdir(path)
        return folders, files

    def get_modified_time(self, name: str) -> datetime:
        with as_os_errors(name):
            return cast(datetime, super().get_modified_time(name))
