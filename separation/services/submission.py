"""Asking for a separation: options read, cost estimated, refusals made early, the job queued.

Owns the way from a request to a queued row. What happens to it then is `running.py`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count

from memory.limiter import ConcurrentOperationLimiter
from memory.quantities import format_bytes
from separation import catalog, ledger, states, tasks
from separation.errors import Limit, ReasonCode, ServiceError
from separation.models import JobState, SeparationJob, Track
from separation.options import OptionError, SeparationOptions
from separation.services.costs import estimated_bytes, estimated_seconds, process_limit
from separation.services.durability import durable
from separation.services.numbers import number, whole
from separation.services.turns import take_turn
from separation.usage import stored_bytes

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class JobEstimate:
    """What a job is expected to need. `message` says why it does not fit, or is empty."""

    bytes: int
    seconds: float
    fits: bool
    message: str
    limit_bytes: int


def default_model() -> str:
    """The model of a job that names none."""
    return settings.DEFAULT_MODEL or catalog.default_model(settings.MODEL_DIR)


def parse_options(data: Mapping[str, Any]) -> SeparationOptions:
    """Options from a request or a form, with this server's default model. Raises `ServiceError`."""
    try:
        return SeparationOptions.parse(data, default_model=default_model())
    except OptionError as error:
        raise ServiceError(error.code, error.message, field=error.field) from error


def estimate(
    track: Track, options: SeparationOptions, *, limiter: ConcurrentOperationLimiter | None = None
) -> JobEstimate:
    """Peak memory and wall time a separation would take, and whether this server can run it at all."""
    size = estimated_bytes(options)
    most = (limiter or ConcurrentOperationLimiter()).largest_operation()
    first_guess = catalog.default_bytes(options)
    if min(size, first_guess) > most:
        return _needs(track, options, size, _too_big(size, most))
    # Peaks of runs that went over the limit may have raised the estimate beyond it; that refuses nobody for good.
    return _needs(track, options, min(size, most), "")


def _needs(track: Track, options: SeparationOptions, size: int, message: str) -> JobEstimate:
    seconds = estimated_seconds(options, track.duration_seconds)
    return JobEstimate(size, seconds, fits=not message, message=message, limit_bytes=process_limit())


def _too_big(size: int, most: int) -> str:
    return (
        f"This needs {format_bytes(size)} of memory; one job can have at most {format_bytes(most)} here. "
        "Choose a smaller model or a shorter segment."
    )


def submit(
    owner: User,
    track: Track,
    options: SeparationOptions,
    *,
    force: bool = False,
    priority: int = 0,
    limiter: ConcurrentOperationLimiter | None = None,
) -> SeparationJob:
    """Queue a separation. The same owner's finished job for the same sound and options is returned instead
    (with `reused` True) unless `force`.

    Raises `ServiceError`: model_unavailable, cannot_fit, file_missing, throttled, quota_exceeded.
    """
    fingerprint = fingerprint_of(track, options)
    done = None if force else _finished_before(owner, fingerprint, len(options.output_stems))
    if done is not None:
        return _marked(done, reused=True)
    require_model(options.model)
    needs = estimate(track, options, limiter=limiter)
    if not needs.fits:
        raise ServiceError(ReasonCode.CANNOT_FIT, needs.message)
    with durable():
        take_turn(owner)
        _keep(track)
        _check_limits(owner, track)
        job = _insert(owner, track, options, fingerprint, needs, priority)
        ledger.note(owner, track)
        states.submitted(job)
        tasks.send_wake()
    return _marked(job, reused=False)


def require_model(name: str) -> None:
    """Raise `ServiceError` (model_unavailable) unless a job with this model could start now."""
    if catalog.is_ready(name, settings.MODEL_DIR):
        return
    why = catalog.unavailable_reason(name) or (
        f"The weights of {name} are not on this server. An administrator can fetch them with "
        f"`manage.py fetch_model {name}`; the models that are ready are listed with it."
    )
    raise ServiceError(ReasonCode.MODEL_UNAVAILABLE, why, field="model")


def fingerprint_of(track: Track, options: SeparationOptions) -> str:
    """Equal for equal sound and equal results: the preset's name does not matter, what it stands for does."""
    asked = {name: value for name, value in options.as_dict().items() if name != "preset"}
    text = json.dumps([track.sha256, track.title, track.artist, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _finished_before(owner: User, fingerprint: str, stems: int) -> SeparationJob | None:
    """The newest such job that still has all of its stems."""
    done = SeparationJob.objects.filter(owner=owner, fingerprint=fingerprint, state=JobState.SUCCEEDED)
    return done.annotate(kept=Count("stems")).filter(kept=stems).order_by("-created_at").first()


def submit_again(job: SeparationJob) -> None:
    """Check and count another go at an ended job, in a transaction that has the owner's turn.

    Its music counts again only if it was cancelled while it ran: what failed has given its owner nothing, and what was
    still waiting has taken nothing. Raises `ServiceError` (quota_exceeded).
    """
    _check_waiting(job.owner)
    _check_room(job.owner)
    if job.state == JobState.CANCELLED and job.attempt_number > job.attempts_before:
        _check_minutes(job.owner, job.track)
        ledger.note(job.owner, job.track)


def _keep(track: Track) -> None:
    """Until the transaction ends nobody deletes the track."""
    if Track.objects.select_for_update(no_key=True).filter(pk=track.pk).values_list("pk").first() is None:
        raise ServiceError(ReasonCode.FILE_MISSING)


def _check_waiting(owner: User) -> None:
    most = whole("QUOTA_QUEUED_JOBS")
    waiting = SeparationJob.objects.filter(owner=owner, state=JobState.QUEUED).count() if most else 0
    if most and waiting >= most:
        message = f"You already have {most} jobs waiting. Wait for some to finish, or cancel some."
        raise _over(message, Limit("quota_queued_jobs", most, waiting), retry_after=60)


def _check_limits(owner: User, track: Track) -> None:
    _check_rate(owner)
    _check_waiting(owner)
    _check_room(owner)
    _check_minutes(owner, track)


def _check_rate(owner: User) -> None:
    most = whole("JOB_CREATIONS_PER_MINUTE")
    if most and (used := ledger.count_last_minute(owner)) >= most:
        message = f"At most {most} jobs can be asked for in a minute. Wait a minute, then try again."
        raise _over(message, Limit("job_creations_per_minute", most, used), code="throttled", retry_after=60)


def _check_room(owner: User) -> None:
    """Stems count towards the quota of bytes; how large they become is not known yet."""
    quota = whole("QUOTA_BYTES_PER_USER")
    if quota and (used := stored_bytes(owner)) >= quota:
        message = "Your tracks and stems take up all the storage that you may use. Delete some of them first."
        raise _over(message, Limit("quota_bytes_per_user", quota, used), retry_after=3600)


def _check_minutes(owner: User, track: Track) -> None:
    minutes = number("QUOTA_MINUTES_PER_DAY")
    if minutes and (used := ledger.minutes_today(owner)) + (track.duration_seconds or 0) / 60 > minutes:
        message = f"This would exceed the {minutes} minutes of music that you may separate in a day."
        raise _over(message, Limit("quota_minutes_per_day", minutes, used), retry_after=3600)


def _over(message: str, limit: Limit, *, retry_after: int, code: str = ReasonCode.QUOTA_EXCEEDED) -> ServiceError:
    return ServiceError(code, message, http_status=429, retry_after=retry_after, limit=limit)


def _insert(
    owner: User, track: Track, options: SeparationOptions, fingerprint: str, needs: JobEstimate, priority: int
) -> SeparationJob:
    job = SeparationJob.objects.create(
        owner=owner,
        track=track,
        model=options.model,
        options=options.as_dict(),
        fingerprint=fingerprint,
        priority=priority,
        estimate_bytes=needs.bytes,
        estimate_seconds=needs.seconds,
        limit_bytes=needs.limit_bytes,
    )
    job.refresh_from_db()
    return job


def _marked(job: SeparationJob, *, reused: bool) -> SeparationJob:
    job.reused = reused  # type: ignore[attr-defined]
    return job
