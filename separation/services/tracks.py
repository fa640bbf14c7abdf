"""Tracks: a file on this machine becomes a Track in storage, and goes again.

Owns probing, hashing and storing what was uploaded. How it was uploaded is `separation.uploads`' part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.db import Error as DatabaseError
from django.db import transaction

from memory.estimates import record_peak
from memory.limiter import ConcurrentOperationLimiter, NotAdmitted
from memory.streaming import StreamingFileHandler
from separation import states
from separation.errors import Limit, ReasonCode, ServiceError
from separation.models import FINISHED, Track, track_path
from separation.services import storing
from separation.services.costs import operation_bytes
from separation.services.durability import durable
from separation.services.names import clean_name
from separation.services.numbers import number, whole
from separation.services.probing import PROBE_SECONDS, Facts, examine
from separation.services.turns import take_turn
from separation.usage import stored_bytes

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)


def create_track(
    owner: User,
    path: Path,
    original_name: str,
    *,
    move: bool = True,
    sha256: str = "",
    track_id: UUID | None = None,
    probe: Callable[[Path, str], Facts] | None = None,
) -> Track:
    """Probe, hash and store the file at `path`; with `move` it is no longer there afterwards.

    `sha256` spares reading the file again when the caller has hashed it; `track_id` names the row beforehand, so
    that a caller who is interrupted can look whether it was made. Raises `ServiceError` (empty_file,
    too_large, unreadable_audio, no_audio_stream, unsupported_audio, too_long, quota_exceeded, busy, disk_full,
    …); the file is then left where it is for the caller to remove, unless the quota was used up meanwhile.
    """
    path = Path(path)
    size = _check_size(owner, path)
    facts = (probe or probe_file)(path, str(owner.pk))
    _check_duration(facts)
    digest = sha256 or StreamingFileHandler().sha256(path)
    track = _track(owner, original_name, size, digest, facts)
    track.pk = track_id or track.pk
    _store(track, path, move=move)
    return track


def delete_track(track: Track) -> None:
    """Delete a track, its jobs and all their files. A job of it that runs is ended by its own worker, at once.

    The track is locked first, as by whoever asks for a job of it: that one finds it gone, or this one the job.
    """
    with transaction.atomic():
        Track.objects.select_for_update().filter(pk=track.pk).values_list("pk").first()
        for job in track.jobs.exclude(state__in=FINISHED):
            states.deleted(job.pk)
        track.delete()


def probe_file(path: Path, owner: str) -> Facts:
    """The facts of a file, once there is memory to examine it. Raises `ServiceError`."""
    expected = operation_bytes("probe")
    limiter = ConcurrentOperationLimiter()
    try:
        with limiter.admitted(
            kind="probe", key=f"probe {uuid4()}", bytes=expected, owner=owner, lease_seconds=PROBE_SECONDS + 10
        ) as held:
            examined = examine(path)
            limiter.release(held.pk, peak_bytes=examined.peak_bytes)
    except NotAdmitted as refusal:
        raise ServiceError(ReasonCode.BUSY, http_status=503, retry_after=refusal.retry_after) from refusal
    record_peak("probe", {}, estimated=expected, observed=examined.peak_bytes)
    return examined.facts


def _check_size(owner: User, path: Path) -> int:
    size = path.stat().st_size
    if size == 0:
        raise ServiceError(ReasonCode.EMPTY_FILE, field="file")
    if size > (most := whole("MAX_UPLOAD_BYTES")):
        limit = Limit("max_upload_bytes", most, size)
        raise ServiceError(ReasonCode.TOO_LARGE, http_status=413, field="file", limit=limit)
    _check_quota(owner, size)
    return size


def _check_quota(owner: User, size: int) -> None:
    quota = whole("QUOTA_BYTES_PER_USER")
    if not quota:
        return
    used = stored_bytes(owner)
    if used + size > quota:
        message = "This upload would exceed the space you may use. Delete tracks that you no longer need."
        limit = Limit("quota_bytes_per_user", quota, used)
        raise ServiceError(ReasonCode.QUOTA_EXCEEDED, message, http_status=413, field="file", limit=limit)


def _check_duration(facts: Facts) -> None:
    longest = number("MAX_DURATION_SECONDS")
    if facts.duration is not None and facts.duration > longest:
        message = f"The music is {facts.duration / 3600:.1f} hours long; this server accepts up to {longest / 3600:g}."
        limit = Limit("max_duration_seconds", longest, facts.duration)
        raise ServiceError(ReasonCode.TOO_LONG, message, field="file", limit=limit)


def _track(owner: User, original_name: str, size: int, digest: str, facts: Facts) -> Track:
    return Track(
        owner=owner,
        original_name=clean_name(original_name),
        size=size,
        sha256=digest,
        duration_seconds=facts.duration,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        codec=facts.codec,
        container=facts.container,
        title=facts.title,
        artist=facts.artist,
    )


def _store(track: Track, path: Path, *, move: bool) -> None:
    storage = track.file.storage
    name = track_path(track, path.name)
    try:
        if storage.exists(name):  # left by an earlier, interrupted try with this id
            storage.delete(name)
        source = (storing.MovedFile if move else storing.StreamedFile)(path)
        track.file.name = storing.store(storage, name, source)
    except OSError as error:
        raise storing.storage_error(error) from error
    try:
        with durable():
            take_turn(track.owner)
            _check_quota(track.owner, track.size)  # again: others may have been stored since
            track.save(force_insert=True)
    except DatabaseError:  # it may have committed: the file stays, for `retention.remove_orphans` to judge
        raise
    except BaseException:
        storing.take_back(Track.objects.filter(pk=track.pk), [track.file.name])
        raise
    if move:
        path.unlink(missing_ok=True)
