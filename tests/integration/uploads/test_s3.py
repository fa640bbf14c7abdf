"""Storage that cannot append: an upload is staged here, sent over in parts once it is whole, read back in pieces."""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import Storage, default_storage

from memory.quantities import MIB
from memory.streaming import StreamingFileHandler
from separation.models import Track
from separation.services.storing import MovedFile, store
from stemsite.instance import file_storage
from tests.integration.uploads.bucket import Bucket, running_bucket
from tests.integration.uploads.conftest import Tus, code_of, staged
from tests.integration.uploads.sounds import wav_bytes

pytest.importorskip("boto3", reason="boto3 is not installed")
PART_BYTES = 8 * MIB
LARGE = random.Random(8).randbytes(MIB) * 40


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with running_bucket() as bucket:
        yield bucket


@pytest.fixture(autouse=True)
def storage(bucket: Bucket, settings: Any) -> Storage:
    """The default storage, chosen as the README says."""
    options = {"bucket_name": "stems", "access_key": "k", "secret_key": "s", "region_name": "us-east-1"}
    client = {"endpoint_url": bucket.url, "addressing_style": "path"}
    chosen = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**options, **client}}
    settings.STORAGES = {**settings.STORAGES, "default": file_storage(chosen)}
    return default_storage


def put(storage: Storage, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    store(storage, "x", MovedFile(tmp_path / "x"))


def read(storage: Storage, start: int, length: int) -> bytes:
    return b"".join(StreamingFileHandler().iter_range(storage.open("x"), start, length))  # type: ignore[arg-type]


def test_an_upload_becomes_a_track_there_and_leaves_nothing_here(tus: Tus, bucket: Bucket) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data[:1000])["Location"]
    assert bucket.objects == {}
    answer = tus.patch(location, 1000, data[1000:])
    track = Track.objects.get(pk=answer["Stemsite-Track"])
    assert bucket.objects == {f"tracks/{track.pk}/original": data}
    assert (track.sha256, staged()) == (hashlib.sha256(data).hexdigest(), [])
    track.delete()


def test_a_large_file_goes_in_parts_one_at_a_time(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    put(storage, tmp_path, LARGE)
    assert bucket.objects["x"] == LARGE
    assert sorted(bucket.received)[-5:] == [PART_BYTES] * 5
    assert bucket.most_at_once == 1


def test_a_piece_of_a_file_costs_no_more_than_the_piece(storage: Storage, bucket: Bucket, tmp_path: Path) -> None:
    put(storage, tmp_path, LARGE)
    assert read(storage, 30 * MIB + 1, 100) == LARGE[30 * MIB + 1 :][:100]
    assert bucket.sent < len(LARGE)
    assert read(storage, len(LARGE) - 5, 100) == LARGE[-5:]


def test_a_file_can_be_read_here_and_there(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, b"0123456789")
    with storage.open("x") as file:
        assert file.read(3) == b"012"
        file.seek(8)
        assert file.read() == b"89"
        file.seek(-4, 2)
        assert (file.tell(), file.read(2), file.read(0)) == (6, b"67", b"")


def test_a_file_that_is_not_there_is_a_missing_file(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open("x")


def test_a_storage_that_refuses_is_a_storage_that_failed(tus: Tus, bucket: Bucket, storage: Storage) -> None:
    bucket.broken = True
    with pytest.raises(OSError, match="403") as refused:
        storage.exists("x")
    assert refused.value.errno == errno.EIO


def test_the_age_of_a_file_that_storage_does_not_tell_is_a_failure_of_storage(bucket: Bucket, storage: Storage) -> None:
    bucket.broken = True
    with pytest.raises(OSError, match="403"):
        storage.get_modified_time("x")


def test_an_upload_that_storage_refused_is_kept_and_goes_over_later(tus: Tus, bucket: Bucket) -> None:
    data = wav_bytes()
    location = tus.create(len(data), data[:1000])["Location"]
    bucket.broken = True
    answer = tus.patch(location, 1000, data[1000:])
    assert (answer.status_code, code_of(answer)) == (503, "storage_failed")
    bucket.broken = False
    head = tus.send("HEAD", location)
    assert bucket.objects == {f"tracks/{head['Stemsite-Track']}/original": data}
    assert staged() == []
