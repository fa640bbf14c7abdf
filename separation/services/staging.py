"""The private folder of one attempt: STAGING_DIR/<host>/<job>/<attempt>/.

Owns its life, what lies in it before the engine starts, and the sweeping of those that outlived their attempt.
The folder is removed last, so one that is left marks an attempt whose publishing may have been interrupted.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError

from memory.conf import memory_settings
from memory.streaming import StreamingFileHandler
from separation.errors import ReasonCode, ServiceError
from separation.models import JobState, SeparationJob, Track
from separation.services import storing
from separation.services.children import ffmpeg_path
from separation.services.numbers import number
from separation.states import Fence


def host_folder() -> Path:
    """Where this host stages; another host's folder is its own reaper's to sweep, or, if it is gone, `forsaken`'s."""
    return Path(settings.STAGING_DIR) / "jobs" / re.sub(r"[^\w.-]", "_", memory_settings().host_name)


def folder_of(fence: Fence) -> Path:
    return host_folder() / str(fence.job_id) / str(fence.attempt)


@contextmanager
def attempt_folder(fence: Fence) -> Iterator[Path]:
    """The attempt's folder, empty on entry and gone on exit. Raises `ServiceError` (disk_full, storage_failed).

    It stays when the database failed: whether the job was finished is then unknown, and the reaper, who finds the
    folder, will know.
    """
    folder = folder_of(fence)
    try:
        remove(folder)
        (folder / "out").mkdir(parents=True)
    except OSError as error:
        raise storing.storage_error(error) from error
    try:
        yield folder
    except DatabaseError:
        raise
    except BaseException:
        remove(folder)
        raise
    remove(folder)


def remove(folder: Path) -> None:
    """Delete an attempt's folder, and the job's when nothing else is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError:
        return  # another attempt's folder is in it, or it is gone already


def write_plan(job: SeparationJob, folder: Path, *, threads: int) -> Path:
    """Bring the input within reach and write the engine's plan; returns its path.

    Raises `ServiceError`: file_missing, disk_full, storage_failed.
    """
    plan = folder / "plan.json"
    source = stage_input(job.track, folder)
    try:
        plan.write_text(json.dumps(plan_of(job, source, folder / "out", threads)), encoding="utf-8")
    except OSError as error:
        raise storing.storage_error(error) from error
    return plan


def plan_of(job: SeparationJob, source: Path, output: Path, threads: int) -> dict[str, Any]:
    """What the engine is told. Every path in it was chosen here."""
    tags = {"title": job.track.title or job.track.display_name, "artist": job.track.artist}
    return {
        **job.options,
        **engine_settings(threads),
        "input": str(source),
        "output_dir": str(output),
        "lean": job.lean,
        "tags": {name: text for name, text in tags.items() if text},
    }


def engine_settings(threads: int) -> dict[str, Any]:
    """The part of every plan that the server decides."""
    return {
        "version": 1,
        "model_dir": str(settings.MODEL_DIR),
        "device": settings.ENGINE_DEVICE,
        "threads": threads,
        "max_duration_seconds": number("MAX_DURATION_SECONDS"),
        "ffmpeg": ffmpeg_path(),
    }


def stage_input(track: Track, folder: Path) -> Path:
    """The track's bytes as a local file: where they are, or streamed into `folder` from a remote storage."""
    storage, name = track.file.storage, track.file.name or ""
    path = storing.local_path(storage, name)
    if path is not None:
        if not path.is_file():
            raise ServiceError(ReasonCode.FILE_MISSING)
        return path
    return _fetch(track, folder / "input")


def _fetch(track: Track, target: Path) -> Path:
    try:
        with track.file.storage.open(track.file.name or "", "rb") as source:
            StreamingFileHandler().copy(source, target)
    except FileNotFoundError as error:
        raise ServiceError(ReasonCode.FILE_MISSING) from error
    except OSError as error:
        raise storing.storage_error(error) from error
    return target


def abandoned(host: Path | None = None) -> Iterator[tuple[Fence, Path]]:
    """Folders whose attempt no longer runs: this host's, or those in the folder of another."""
    for job_folder in _folders(host or host_folder()):
        for folder in _folders(job_folder):
            fence = _fence(job_folder.name, folder.name)
            if fence is None or not _runs(fence):
                yield fence or Fence(UUID(int=0), 0), folder


def forsaken(age: timedelta) -> Iterator[tuple[Fence, Path]]:
    """Such folders of any host, untouched for `age`: a host that comes back under another name leaves its own."""
    before = time.time() - age.total_seconds()
    for host in _folders(host_folder().parent):
        yield from ((fence, folder) for fence, folder in abandoned(host) if _touched(folder) < before)


def _touched(folder: Path) -> float:
    """When an entry of it last came or went, seconds; now, if its own reaper has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def is_abandoned() -> bool:
    """Whether there is such a folder."""
    return next(abandoned(), None) is not None


def _folders(parent: Path) -> list[Path]:
    return sorted(entry for entry in parent.iterdir() if entry.is_dir()) if parent.is_dir() else []


def _fence(job: str, attempt: str) -> Fence | None:
    try:
        return Fence(UUID(job), int(attempt))
    except ValueError:
        return None


def _runs(fence: Fence) -> bool:
    return SeparationJob.objects.filter(pk=fence.job_id, state=JobState.RUNNING, attempt_number=fence.attempt).exists()
