"""Tracks: a file on this machine becomes a Track in storage, and goes again.

Owns probing, hashing and storing what was uploaded. How it was uploaded is `separation.uploads`' part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Sum

from memory.estimates import estimate as calibrated
from memory.estimates import record_peak
from memory.limiter import ConcurrentOperationLimiter, NotAdmitted
from memory.processes import EndReason, OperationLimits, Outcome, ProcessResourceManager
from memory.streaming import StreamingFileHandler
from separation.errors import ReasonCode, ServiceError
from separation.models import Track, track_path
from separation.services import storing
from separation.services.children import environment, parse_event, probe_command
from separation.services.costs import process_limit
from separation.services.names import clean_name
from separation.services.numbers import number, whole

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)
MIB = 1024**2
PROBE_BYTES = 96 * MIB
PROBE_LIMIT_BYTES = 768 * MIB
PROBE_SECONDS = 240.0


@dataclass(frozen=True)
class Facts:
    """What a probe read from a file. Duration in seconds, None if it cannot be told; rate in Hz."""

    duration: float | None
    sample_rate: int
    channels: int
    codec: str = ""
    container: str = ""
    title: str = ""
    artist: str = ""


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
    …); the file is then left where it is for the caller to remove.
    """
    path = Path(path)
    size = _check_size(owner, path)
    facts = (probe or probe_file)(path, str(owner.pk))
    _check_duration(facts)
    digest = sha256 or StreamingFileHandler(storing.CHUNK_BYTES).sha256(path)
    track = _track(owner, original_name, size, digest, facts)
    track.pk = track_id or track.pk
    _store(track, path, move=move)
    return track


def delete_track(track: Track) -> None:
    """Delete a track, its jobs and all their files. A job of it that runs is ended by its own worker, at once."""
    track.delete()


def probe_file(path: Path, owner: str) -> Facts:
    """The facts of a file, read in a supervised child. Raises `ServiceError`."""
    expected = calibrated("probe", {}, default_bytes=PROBE_BYTES)
    limiter = ConcurrentOperationLimiter()
    try:
        with limiter.admitted(
            kind="probe", key=f"probe {uuid4()}", bytes=expected, owner=owner, lease_seconds=PROBE_SECONDS + 10
        ):
            outcome, event = _run_probe(path)
    except NotAdmitted as refusal:
        raise ServiceError(ReasonCode.BUSY, http_status=503) from refusal
    if outcome.reason is EndReason.COMPLETED:
        record_peak("probe", {}, estimated=expected, observed=outcome.peak_bytes)
        return _facts(event)
    raise _probe_error(outcome, event)


def _run_probe(path: Path) -> tuple[Outcome, dict[str, Any]]:
    events: list[dict[str, Any]] = []
    limits = OperationLimits(memory_bytes=min(process_limit(), PROBE_LIMIT_BYTES), wall_seconds=PROBE_SECONDS)
    outcome = ProcessResourceManager().run(
        probe_command(path),
        limits=limits,
        label=f"probe {path.name}",
        cwd=path.parent,
        env=environment(),
        on_line=lambda line: events.append(parse_event(line)),
    )
    return outcome, events[-1] if events else {}


def _probe_error(outcome: Outcome, event: dict[str, Any]) -> ServiceError:
    if event.get("event") == "error":
        return ServiceError(_known(event.get("code")), str(event.get("message") or ""), field="file")
    if outcome.reason in (EndReason.MEMORY_LIMIT, EndReason.TIMED_OUT):
        return ServiceError(ReasonCode.UNREADABLE_AUDIO, field="file")
    logger.error("probe ended: %s; %s", outcome.reason, outcome.stderr_tail[-2000:])
    return ServiceError(ReasonCode.ENGINE_CRASHED, "The file could not be examined. Try again.", http_status=500)


def _known(code: object) -> str:
    return str(code) if code in set(ReasonCode) else ReasonCode.UNREADABLE_AUDIO


def _facts(event: dict[str, Any]) -> Facts:
    tags = event.get("tags") or {}
    return Facts(
        duration=float(event["duration"]) if event.get("duration") is not None else None,
        sample_rate=int(event["sample_rate"]),
        channels=int(event["channels"]),
        codec=str(event.get("codec", ""))[:64],
        container=str(event.get("container", ""))[:64],
        title=str(tags.get("title", ""))[:255],
        artist=str(tags.get("artist", ""))[:255],
    )


def _check_size(owner: User, path: Path) -> int:
    size = path.stat().st_size
    if size == 0:
        raise ServiceError(ReasonCode.EMPTY_FILE, field="file")
    if size > whole("MAX_UPLOAD_BYTES"):
        raise ServiceError(ReasonCode.TOO_LARGE, http_status=413, field="file")
    _check_quota(owner, size)
    return size


def _check_quota(owner: User, size: int) -> None:
    quota = whole("QUOTA_BYTES_PER_USER")
    if not quota:
        return
    used = Track.objects.filter(owner=owner).aggregate(total=Sum("size"))["total"] or 0
    if used + size > quota:
        message = "This upload would exceed the space you may use. Delete tracks that you no longer need."
        raise ServiceError(ReasonCode.QUOTA_EXCEEDED, message, http_status=413, field="file")


def _check_duration(facts: Facts) -> None:
    longest = number("MAX_DURATION_SECONDS")
    if facts.duration is not None and facts.duration > longest:
        message = f"The music is {facts.duration / 3600:.1f} hours long; this server accepts up to {longest / 3600:g}."
        raise ServiceError(ReasonCode.TOO_LONG, message, field="file")


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
    source = (storing.MovedFile if move else storing.StreamedFile)(path, path.name)
    try:
        track.file.name = storing.store(storage, track_path(track, path.name), source)
    except OSError as error:
        raise storing.storage_error(error) from error
    try:
        with transaction.atomic():
            track.save(force_insert=True)
    except BaseException:
        storing.remove(storage, [track.file.name])
        raise
    if move:
        path.unlink(missing_ok=True)
