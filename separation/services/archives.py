"""All stems of a job as one archive. Owns which members it has; the format is `separation.zips`'s."""

from __future__ import annotations

from functools import partial
from typing import BinaryIO, cast

from separation.models import SeparationJob, Stem
from separation.zips import ZipEntry, ZipLayout


def stems_archive(job: SeparationJob) -> ZipLayout:
    """The job's stems, in the order of their names; nothing is read until a range is."""
    stems = job.stems.select_related("job__track").order_by("name")
    return ZipLayout([_entry(stem) for stem in stems])


def _entry(stem: Stem) -> ZipEntry:
    return ZipEntry(
        name=stem.download_name,
        size=stem.size,
        crc32=stem.crc32,
        open=partial(_opened, stem),
        modified=stem.created_at,
    )


def _opened(stem: Stem) -> BinaryIO:
    return cast(BinaryIO, stem.file.storage.open(stem.file.name or "", "rb"))
