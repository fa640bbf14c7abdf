"""Files that are handed to storage are on the disk when that has been said."""

import os
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage

from separation.services.storing import MovedFile, StreamedFile, store


@pytest.mark.parametrize("kind", [MovedFile, StreamedFile])
def test_a_stored_file_and_its_folder_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[StreamedFile]
) -> None:
    source, flushed, fsync = tmp_path / "vocals.wav", set(), os.fsync
    source.write_bytes(b"x" * 100_000)

    def noted(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    storage = FileSystemStorage(location=tmp_path / "media")
    there = Path(storage.path(store(storage, "stems/a/1-vocals.wav", kind(source))))
    assert {there.stat().st_ino, there.parent.stat().st_ino} <= flushed
