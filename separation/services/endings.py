"""What the end of a child means for its job: publish, fail with a reason, try again, or let go.

Owns that decision. Carries it out through `states` and `publishing`; what estimates and administrators learn from a run
is noted after its end, which stands whether or not the database takes the note.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseError

from memory.estimates import record_peak
from memory.incidents import record_outcome
from memory.processes import EndReason, Outcome
from separation import catalog, states
from separation.errors import ReasonCode, ServiceError
from separation.models import Attempt, SeparationJob
from separation.options import SeparationOptions
from separation.services import pace, publishing, stopping
from separation.services.costs import KIND, guessed_seconds
from separation.services.names import printable
from separation.services.numbers import whole
from separation.services.supervision import AttemptWatch, StopCause
from separation.states import AttemptReport, Fence

logger = logging.getLogger(__name__)

LEAN_RETRIES = 1
PRESSURE_DELAY_SECONDS = 20.0
REASONS: dict[EndReason, ReasonCode] = {
    EndReason.MEMORY_LIMIT: ReasonCode.MEMORY_LIMIT,
    EndReason.HOST_OUT_OF_MEMORY: ReasonCode.HOST_OUT_OF_MEMORY,
    EndReason.KILLED: ReasonCode.ENGINE_KILLED,
    EndReason.CRASHED: ReasonCode.ENGINE_CRASHED,
    EndReason.TIMED_OUT: ReasonCode.TIMED_OUT,
    EndReason.STALLED: ReasonCode.STALLED,
}


def settle(job: SeparationJob, fence: Fence, outcome: Outcome, watch: AttemptWatch, folder: Path) -> None:
    """Bring the attempt to its end. Raises `FenceLostError` when the job is no longer this attempt's."""
    watch.require_fence()
    report = report_of(outcome, watch)
    if outcome.reason is EndReason.KILLED and stopping.requested():  # who stops the service may signal the engine too
        _settle_stopped(job, fence, StopCause.STOPPING, report)
        return
    if watch.cause is not None and outcome.reason in (EndReason.CANCELLED, EndReason.HOST_OUT_OF_MEMORY):
        _settle_stopped(job, fence, watch.cause, report)
    elif outcome.reason is EndReason.COMPLETED and watch.result is not None:
        _settle_finished(job, fence, watch, folder, report)
        with _noting(job):
            remember_pace(job, outcome.wall_seconds)
    else:
        _settle_failed(job, fence, *reason_of(outcome, watch.error), report)
    with _noting(job):
        record_outcome(outcome, kind=KIND, key=str(job.pk), limit_bytes=job.limit_bytes)


@contextmanager
def _noting(job: SeparationJob) -> Iterator[None]:
    try:
        yield
    except DatabaseError:
        logger.warning("something of a run could not be noted", extra={"job": job.pk}, exc_info=True)


def report_of(outcome: Outcome, watch: AttemptWatch) -> AttemptReport:
    peak = max(outcome.peak_bytes, watch.peak_bytes)
    return AttemptReport(
        peak_bytes=peak,
        cpu_seconds=outcome.cpu_seconds,
        layers=outcome.layers,
        stderr_tail=outcome.stderr_tail,
        data={"peak_bytes": peak, "seconds": round(outcome.wall_seconds, 2), "end": str(outcome.reason)},
    )


def reason_of(outcome: Outcome, error: Mapping[str, Any] | None) -> tuple[str, str]:
    """The reason code and the sentence for a child that did not deliver.

    What the supervisor saw counts first; a child that ended by itself is believed about why.
    """
    if outcome.reason in REASONS:
        return REASONS[outcome.reason], ""
    if error is not None and error.get("code") in set(ReasonCode):
        return str(error["code"]), printable(str(error.get("message") or ""))
    return ReasonCode.ENGINE_CRASHED, ""


def _settle_stopped(job: SeparationJob, fence: Fence, cause: StopCause, report: AttemptReport) -> None:
    if cause is StopCause.CANCELLED:
        states.cancelled(fence, report=report)
    elif cause is StopCause.STOPPING:
        states.requeue(fence, reason=ReasonCode.WORKER_STOPPED, report=report)
    elif cause is StopCause.DISK_FULL:
        states.fail(fence, reason=ReasonCode.DISK_FULL, report=report)
    else:
        _settle_failed(job, fence, ReasonCode.HOST_OUT_OF_MEMORY, "", report)


def _settle_finished(
    job: SeparationJob, fence: Fence, watch: AttemptWatch, folder: Path, report: AttemptReport
) -> None:
    watch.enter("publishing")
    try:
        with watch.kept_alive():
            publishing.publish(job, fence, folder, watch.result or {}, report=report)
    except ServiceError as refusal:
        states.fail(fence, reason=refusal.code, message=refusal.message, report=report)
    else:
        logger.info("succeeded", extra={"job": job.pk, "attempt": fence.attempt, "bytes": report.peak_bytes})
    with _noting(job):
        remember_peak(job, report.peak_bytes)


def _settle_failed(job: SeparationJob, fence: Fence, reason: str, message: str, report: AttemptReport) -> None:
    if reason == ReasonCode.MEMORY_LIMIT and may_go_leaner(job):
        states.requeue(fence, reason=reason, message=_leaner(job), lean=job.lean + 1, report=report)
    elif reason == ReasonCode.HOST_OUT_OF_MEMORY and tries(job, reason) + 1 < whole("JOB_MAX_ATTEMPTS"):
        states.requeue(fence, reason=reason, delay_seconds=PRESSURE_DELAY_SECONDS, report=report)
    else:
        logger.warning("failed", extra={"job": job.pk, "attempt": fence.attempt, "reason": reason})
        states.fail(fence, reason=reason, message=message, report=report)
    if reason == ReasonCode.MEMORY_LIMIT:
        with _noting(job):
            remember_peak(job, report.peak_bytes)


def may_go_leaner(job: SeparationJob) -> bool:
    """Whether a job that went over its limit has a leaner try left."""
    return job.lean < min(LEAN_RETRIES, len(catalog.lean_steps(job.model)))


def _leaner(job: SeparationJob) -> str:
    return f"It went over its memory limit and is tried once more with {catalog.lean_steps(job.model)[job.lean]}."


def tries(job: SeparationJob, reason: str) -> int:
    """Attempts that ended for `reason` since a person last asked for the job."""
    return Attempt.objects.filter(job_id=job.pk, number__gt=job.attempts_before, reason=reason).count()


def remember_peak(job: SeparationJob, peak: int) -> None:
    """Let the next estimate learn from this run."""
    if peak:
        options = SeparationOptions.parse(job.options)
        features = catalog.estimate_features(options, job.lean)
        record_peak(KIND, features, estimated=job.estimate_bytes, observed=peak)


def remember_pace(job: SeparationJob, seconds: float) -> None:
    """Let the next estimate of time learn from this run."""
    options = SeparationOptions.parse(job.options)
    expected = guessed_seconds(options, job.track.duration_seconds, job.lean)
    pace.remember(options, expected=expected, observed=seconds)
