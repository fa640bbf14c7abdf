"""From the attempt's folder into storage: stems become files under the attempt's own names, then rows.

Owns the order that makes a crash harmless: files first, under names no other attempt uses; rows and state in
one transaction under the fence; files taken back when that fails. What a killed worker leaves is found by the
folder that marks its attempt (`staging.abandoned`) and removed by `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.files.storage import Storage
from django.db import Error as DatabaseError
from django.db import close_old_connections

from separation import states
from separation.errors import ReasonCode, ServiceError
from separation.models import SeparationJob, Stem, stem_path
from separation.options import SeparationOptions
from separation.services import storing
from separation.states import AttemptReport, Fence

FACTS = {"stem", "file", "bytes", "sha256", "crc32", "samples", "sample_rate", "channels"}


def publish(
    job: SeparationJob,
    fence: Fence,
    folder: Path,
    result: Mapping[str, Any],
    *,
    report: AttemptReport,
) -> None:
    """Store what the engine wrote to `folder` and finish the job.

    Raises `ServiceError` (engine_crashed, disk_full, storage_failed) and `FenceLostError`; nothing is left in storage
    then but what it refuses to delete, which `retention.remove_orphans` finds later. When the database fails nobody
    can tell whether the job was finished: its error goes through, and the files stay for `sweep` to judge. Whoever
    interrupts it takes back only what was not finished.
    """
    outputs = check_outputs(result, SeparationOptions.parse(job.options), folder)
    storage = Stem._meta.get_field("file").storage
    stored: list[str] = []
    try:
        stems = [_store(storage, job, fence, folder, output, stored) for output in outputs]
        close_old_connections()  # storing may have taken longer than an idle connection lives
        states.succeed(fence, stems=stems, result=_kept(result), report=report)
    except DatabaseError:
        raise
    except OSError as error:
        _take_back(job, stored)
        raise storing.storage_error(error) from error
    except BaseException:
        _take_back(job, stored)
        raise


def _take_back(job: SeparationJob, stored: Sequence[str]) -> None:
    close_old_connections()
    storing.take_back(job.stems.all(), stored)


def check_outputs(result: Mapping[str, Any], options: SeparationOptions, folder: Path) -> Sequence[Mapping[str, Any]]:
    """The outputs the engine reports, if they are those asked for and lie in `folder` at their full size."""
    outputs = result.get("outputs") or []
    if sorted(output.get("stem", "") for output in outputs) != sorted(options.output_stems):
        raise ServiceError(ReasonCode.ENGINE_CRASHED, "The separation engine did not deliver every stem.")
    if not all(output.keys() >= FACTS and _is_whole(folder, output) for output in outputs):
        raise ServiceError(ReasonCode.ENGINE_CRASHED, "The separation engine did not write every stem in full.")
    return outputs


def _is_whole(folder: Path, output: Mapping[str, Any]) -> bool:
    path = folder / str(output["file"])
    return path.parent == folder and path.is_file() and path.stat().st_size == output["bytes"]


def _store(
    storage: Storage,
    job: SeparationJob,
    fence: Fence,
    folder: Path,
    output: Mapping[str, Any],
    stored: list[str],
) -> Stem:
    path = folder / output["file"]
    stem = _stem(job, output, path.suffix.lstrip("."))
    name = stem_path(stem, f"{fence.attempt}-{stem.name}{path.suffix}")
    stored.append(name)
    stem.file.name = stored[-1] = storing.store(storage, name, storing.MovedFile(path))
    return stem


def _stem(job: SeparationJob, output: Mapping[str, Any], extension: str) -> Stem:
    return Stem(
        job=job,
        name=output["stem"],
        format=job.options.get("format") or extension,
        size=output["bytes"],
        sha256=output["sha256"],
        crc32=output["crc32"],
        samples=output["samples"],
        sample_rate=output["sample_rate"],
        channels=output["channels"],
    )


def _kept(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of the engine's result stays with the job; the outputs are in the stems' rows."""
    return {name: value for name, value in result.items() if name not in ("event", "outputs")}


def sweep(job_id: UUID, attempt: int) -> list[str]:
    """Remove files that an attempt put into storage without finishing the job; returns their names."""
    storage = Stem._meta.get_field("file").storage
    folder = f"stems/{job_id}"
    try:
        _, names = storage.listdir(folder)
    except FileNotFoundError:
        return []
    known = set(Stem.objects.filter(job_id=job_id).values_list("file", flat=True))
    stray = [f"{folder}/{name}" for name in names if name.startswith(f"{attempt}-")]
    stray = [name for name in stray if name not in known]
    storing.remove(storage, stray)
    return stray
