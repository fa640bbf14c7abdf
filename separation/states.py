"""The arrows of a job's state diagram, each a function that updates by compare-and-set.

Owns every change of `SeparationJob.state` and the events that record it, in one transaction each. A function
returns whether it changed anything: False means that somebody else was first, and nothing was written. Owns
no processes, files or reservations. Times are the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.functions import Greatest, Now
from django.dispatch import Signal

from separation.errors import SENTENCES, ReasonCode
from separation.models import Attempt, JobEvent, JobState, SeparationJob, Stem

LONGEST_LEASE_SECONDS = 24 * 3600.0
job_changed = Signal()
"""Sent as (sender=SeparationJob, job_id=UUID, state=str) inside the transaction of each change of state."""


@dataclass(frozen=True)
class Fence:
    """The right to write to a job: held by one attempt, until another takes its place."""

    job_id: UUID
    attempt: int


@dataclass(frozen=True)
class Reserved:
    """What an attempt was given, bytes. `reservation_id` is the memory limiter's."""

    reservation_id: int | None
    reserved_bytes: int
    estimate_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class AttemptReport:
    """What is known of an attempt when it ends."""

    peak_bytes: int = 0
    cpu_seconds: float | None = None
    layers: Sequence[str] = ()
    stderr_tail: str = ""
    data: dict[str, Any] = field(default_factory=dict)


NO_REPORT = AttemptReport()


class FenceLostError(Exception):
    """Another attempt, a cancellation or a deletion took the job away; what this one made must be discarded."""


def from_now(seconds: float) -> ExpressionWrapper:
    """The database's present time plus `seconds`."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=models.DateTimeField())


def run_out() -> Q:
    """Leases that have ended; also those that no lease can end as late as, given by a clock that was put back since."""
    return Q(lease_expires_at__lt=Now()) | Q(lease_expires_at__gt=from_now(LONGEST_LEASE_SECONDS))


def sentence(reason: str) -> str:
    return SENTENCES.get(reason, "")


# --- arrows that start or wait


def submitted(job: SeparationJob) -> None:
    """(nothing) -> queued, for a row that was just inserted."""
    _record(job.pk, None, "submitted")
    _announce(job.pk, JobState.QUEUED)


def claim(
    job_id: UUID, *, attempt_number: int, host: str, worker_pid: int, reserved: Reserved, lease_seconds: float
) -> Attempt | None:
    """queued -> running, opening attempt `attempt_number + 1`. None when the job is no longer there to be had."""
    number = attempt_number + 1
    with transaction.atomic():
        claimed = _waiting(job_id, attempt_number).filter(cancel_requested_at=None)
        moved = claimed.update(
            state=JobState.RUNNING,
            attempt_number=number,
            host=host,
            lease_expires_at=from_now(lease_seconds),
            started_at=Now(),
            finished_at=None,
            progress=0.0,
            eta_seconds=None,
            phase="loading",
            reason="",
            message="",
            current_bytes=0,
            reserved_bytes=reserved.reserved_bytes,
            estimate_bytes=reserved.estimate_bytes,
            limit_bytes=reserved.limit_bytes,
        )
        if moved != 1:
            return None
        attempt = _open_attempt(job_id, number, host, worker_pid, reserved)
        _record(job_id, number, "started", f"Attempt {number} on {host}.")
        _announce(job_id, JobState.RUNNING)
        return attempt


def cancel_waiting(job_id: UUID, *, attempt_number: int) -> bool:
    """queued -> cancelled."""
    with transaction.atomic():
        changes = _ending(ReasonCode.CANCELLED, sentence(ReasonCode.CANCELLED))
        if _waiting(job_id, attempt_number).update(state=JobState.CANCELLED, **changes) != 1:
            return False
        _record(job_id, attempt_number or None, "cancelled")
        _announce(job_id, JobState.CANCELLED)
        return True


def retry(job_id: UUID, *, attempt_number: int) -> bool:
    """failed or cancelled -> queued, because a person asked for it. The attempt limits count anew."""
    with transaction.atomic():
        ended = SeparationJob.objects.filter(
            pk=job_id, attempt_number=attempt_number, state__in=(JobState.FAILED, JobState.CANCELLED)
        )
        if (
            ended.update(
                attempts_before=F("attempt_number"), lean=0, not_before=None, queued_at=Now(), **_waiting_again()
            )
            != 1
        ):
            return False
        _record(job_id, attempt_number or None, "retried")
        _announce(job_id, JobState.QUEUED)
        return True


def deleted(job_id: UUID) -> bool:
    """queued or running -> cancelled, for a job that the caller deletes in the same transaction: its owner's webhooks
    are told; one of the job's own goes with it. Its worker, if it has one, finds it gone."""
    unfinished = SeparationJob.objects.filter(pk=job_id, state__in=(JobState.QUEUED, JobState.RUNNING))
    with transaction.atomic():
        if unfinished.update(state=JobState.CANCELLED, **_failing(ReasonCode.CANCELLED)) != 1:
            return False
        _announce(job_id, JobState.CANCELLED)
        return True


# --- arrows of a running job, under the fence


def request_cancel(job_id: UUID, *, attempt_number: int) -> bool:
    """Ask the worker of a running job to end it; asking again changes nothing and counts as done."""
    with transaction.atomic():
        running = _running(Fence(job_id, attempt_number))
        if running.filter(cancel_requested_at=None).update(cancel_requested_at=Now()) == 1:
            _record(job_id, attempt_number, "cancel_requested")
            return True
        return running.exists()


def heartbeat(fence: Fence, *, lease_seconds: float, current_bytes: int = 0, peak_bytes: int = 0) -> bool:
    """Renew the lease. False: the fence is lost."""
    with transaction.atomic():
        renewed = _running(fence).update(
            lease_expires_at=from_now(lease_seconds),
            current_bytes=current_bytes,
            peak_bytes=Greatest(F("peak_bytes"), peak_bytes),
        )
        if renewed != 1:
            return False
        _attempt(fence).update(heartbeat_at=Now(), peak_bytes=Greatest(F("peak_bytes"), peak_bytes))
        return True


def progressed(fence: Fence, *, phase: str, progress: float, eta_seconds: float | None, current_bytes: int) -> bool:
    """Write how far the attempt is. False: the fence is lost."""
    return (
        _running(fence).update(
            phase=phase[:16],
            progress=min(1.0, max(0.0, progress)),
            eta_seconds=eta_seconds,
            current_bytes=current_bytes,
            peak_bytes=Greatest(F("peak_bytes"), current_bytes),
        )
        == 1
    )


def succeed(fence: Fence, *, stems: Sequence[Stem], result: dict[str, Any], report: AttemptReport = NO_REPORT) -> None:
    """running -> succeeded, with its stems. Raises `FenceLostError`, having written nothing, when it is too late."""
    with transaction.atomic():
        moved = _running(fence).update(
            state=JobState.SUCCEEDED, result=result, progress=1.0, **_ending("", ""), **_peak(report)
        )
        if moved != 1:
            raise FenceLostError(f"job {fence.job_id} is no longer attempt {fence.attempt}'s")
        Stem.objects.filter(job_id=fence.job_id).delete()
        Stem.objects.bulk_create(stems)
        _close_attempt(fence, "succeeded", "", "", report)
        _record(fence.job_id, fence.attempt, "succeeded", **report.data)
        _announce(fence.job_id, JobState.SUCCEEDED)


def fail(fence: Fence, *, reason: str, message: str = "", report: AttemptReport = NO_REPORT) -> bool:
    """running -> failed."""
    message = message or sentence(reason)
    return _leave(
        fence, JobState.FAILED, "failed", reason, message, report, {**_ending(reason, message), **_peak(report)}
    )


def cancelled(fence: Fence, *, report: AttemptReport = NO_REPORT) -> bool:
    """running -> cancelled: the child has ended because somebody asked for it."""
    reason, message = ReasonCode.CANCELLED, sentence(ReasonCode.CANCELLED)
    return _leave(
        fence, JobState.CANCELLED, "cancelled", reason, message, report, {**_ending(reason, message), **_peak(report)}
    )


def requeue(
    fence: Fence,
    *,
    reason: str,
    message: str = "",
    lean: int | None = None,
    delay_seconds: float = 0.0,
    report: AttemptReport = NO_REPORT,
) -> bool:
    """running -> queued, for another attempt; `lean` makes that one leaner, `delay_seconds` holds it back.

    A job whose cancellation was asked for meanwhile becomes cancelled instead.
    """
    message = message or sentence(reason)
    changes: dict[str, Any] = {**_waiting_again(), **_peak(report), "message": message}
    changes["not_before"] = from_now(delay_seconds) if delay_seconds else None
    if lean is not None:
        changes["lean"] = lean
    waits = Q(cancel_requested_at=None)
    return _leave(fence, JobState.QUEUED, "requeued", reason, message, report, changes, waits) or cancelled(
        fence, report=report
    )


def lost(fence: Fence, *, again: bool) -> bool:
    """running -> queued (`again`) or failed, because the lease ran out. False when it was renewed after all."""
    reason = ReasonCode.LOST_WORKER
    expired = run_out()
    if not again:
        return _leave(fence, JobState.FAILED, "failed", reason, sentence(reason), NO_REPORT, _failing(reason), expired)
    message = "The worker running this job disappeared."
    changes = {**_waiting_again(), "message": message}
    where = expired & Q(cancel_requested_at=None)
    return _leave(fence, JobState.QUEUED, "requeued", reason, message, NO_REPORT, changes, where) or _leave(
        fence,
        JobState.CANCELLED,
        "cancelled",
        ReasonCode.CANCELLED,
        sentence(ReasonCode.CANCELLED),
        NO_REPORT,
        _failing(ReasonCode.CANCELLED),
        expired & Q(cancel_requested_at__isnull=False),
    )


# --- shared by the arrows


def _leave(
    fence: Fence,
    state: JobState,
    outcome: str,
    reason: str,
    message: str,
    report: AttemptReport,
    changes: dict[str, Any],
    where: Q | None = None,
) -> bool:
    with transaction.atomic():
        running = _running(fence).filter(where) if where is not None else _running(fence)
        if running.update(**{**changes, "state": state}) != 1:
            return False
        _close_attempt(fence, outcome, reason, message, report)
        _record(fence.job_id, fence.attempt, outcome, message, reason=reason, **report.data)
        _announce(fence.job_id, state)
        return True


def _waiting(job_id: UUID, attempt_number: int) -> models.QuerySet[SeparationJob]:
    return SeparationJob.objects.filter(pk=job_id, state=JobState.QUEUED, attempt_number=attempt_number)


def _running(fence: Fence) -> models.QuerySet[SeparationJob]:
    return SeparationJob.objects.filter(pk=fence.job_id, state=JobState.RUNNING, attempt_number=fence.attempt)


def _attempt(fence: Fence) -> models.QuerySet[Attempt]:
    return Attempt.objects.filter(job_id=fence.job_id, number=fence.attempt)


def _ending(reason: str, message: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "message": message,
        "phase": "",
        "eta_seconds": None,
        "finished_at": Now(),
        "lease_expires_at": None,
        "current_bytes": 0,
        "reserved_bytes": 0,
    }


def _failing(reason: str) -> dict[str, Any]:
    return _ending(reason, sentence(reason))


def _waiting_again() -> dict[str, Any]:
    """Back to the queue, at its old place: what happened was not the job's fault."""
    return {
        **_ending("", ""),
        "state": JobState.QUEUED,
        "finished_at": None,
        "progress": 0.0,
        "cancel_requested_at": None,
        "host": "",
    }


def _peak(report: AttemptReport) -> dict[str, Any]:
    return {"peak_bytes": Greatest(F("peak_bytes"), report.peak_bytes)}


def _open_attempt(job_id: UUID, number: int, host: str, pid: int, reserved: Reserved) -> Attempt:
    lean = SeparationJob.objects.values_list("lean", flat=True).get(pk=job_id)
    return Attempt.objects.create(
        job_id=job_id,
        number=number,
        host=host,
        worker_pid=pid,
        reservation_id=reserved.reservation_id,
        lean=lean,
        estimate_bytes=reserved.estimate_bytes,
        reserved_bytes=reserved.reserved_bytes,
        limit_bytes=reserved.limit_bytes,
    )


def _close_attempt(fence: Fence, outcome: str, reason: str, message: str, report: AttemptReport) -> None:
    _attempt(fence).filter(outcome="").update(
        outcome=outcome,
        reason=reason,
        message=message,
        ended_at=Now(),
        peak_bytes=Greatest(F("peak_bytes"), report.peak_bytes),
        cpu_seconds=report.cpu_seconds,
        layers=list(report.layers),
        stderr_tail=report.stderr_tail.replace("\0", "")[-8000:],
    )


def _record(job_id: UUID, attempt: int | None, kind: str, message: str = "", **data: Any) -> None:
    JobEvent.objects.create(job_id=job_id, attempt_number=attempt, kind=kind, message=message, data=data)


def _announce(job_id: UUID, state: JobState) -> None:
    job_changed.send(sender=SeparationJob, job_id=job_id, state=str(state))
