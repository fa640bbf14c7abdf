"""What a person can do to a job that exists: cancel it, ask for it again, delete it.

Owns the answers to those requests. The changes themselves are arrows in `states.py`.
"""

from __future__ import annotations

from django.db import transaction

from separation import states, tasks
from separation.errors import ReasonCode, ServiceError
from separation.models import JobState, SeparationJob
from separation.options import OptionError, SeparationOptions
from separation.services.submission import require_model, submit_again
from separation.services.turns import take_turn

TRIES = 5
"""How often a request meets a job that moved on meanwhile before it gives up."""


def cancel(job: SeparationJob) -> SeparationJob:
    """Cancel a waiting job at once; ask the worker of a running one to end it (within about two seconds).

    Raises `ServiceError` (not_allowed_now) when it has already finished.
    """
    for _ in range(TRIES):
        job.refresh_from_db()
        if job.is_finished:
            raise _not_now(f"The job has already {_ended(job)}.")
        arrow = states.cancel_waiting if job.state == JobState.QUEUED else states.request_cancel
        if arrow(job.pk, attempt_number=job.attempt_number):
            job.refresh_from_db()
            return job
    raise _not_now("The job keeps changing. Try again.")


def retry(job: SeparationJob) -> SeparationJob:
    """Queue a failed or cancelled job again, with its options as they were.

    Raises `ServiceError`: not_allowed_now, model_unavailable, quota_exceeded, invalid_option.
    """
    job.refresh_from_db()
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise _not_now("Only a job that failed or was cancelled can be tried again.")
    _require_runnable(job)
    with transaction.atomic():
        take_turn(job.owner)
        submit_again(job)
        if not states.retry(job.pk, attempt_number=job.attempt_number):
            raise _not_now("The job has changed meanwhile.")
        tasks.send_wake()
    job.refresh_from_db()
    return job


def delete_job(job: SeparationJob) -> None:
    """Delete a job and the stems it made. If it runs, its worker notices, ends the child and discards the rest."""
    with transaction.atomic():
        states.deleted(job.pk)
        job.delete()


def _require_runnable(job: SeparationJob) -> None:
    try:
        options = SeparationOptions.parse(job.options)
    except OptionError as error:
        raise ServiceError(error.code, error.message, field=error.field) from error
    require_model(options.model)


def _not_now(message: str) -> ServiceError:
    return ServiceError(ReasonCode.NOT_ALLOWED_NOW, message, http_status=409)


def _ended(job: SeparationJob) -> str:
    return "been cancelled" if job.state == JobState.CANCELLED else str(job.state)
