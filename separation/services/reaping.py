"""Putting right what ended without saying so: lost workers, lost messages, what they left on disk.

Owns one pass over each; `manage.py reap` repeats them. Each is safe to do twice, late, or by several hosts at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from memory.limiter import ConcurrentOperationLimiter
from separation import states, tasks
from separation.errors import ReasonCode
from separation.models import JobState, SeparationJob
from separation.services import endings, publishing, queue, staging
from separation.services.numbers import whole
from separation.states import Fence

logger = logging.getLogger(__name__)
BATCH = 200


@dataclass(frozen=True)
class ReapReport:
    """How many leases of each had run out."""

    jobs: int = 0
    reservations: int = 0


def reap(limiter: ConcurrentOperationLimiter | None = None) -> ReapReport:
    """One pass over leases: jobs and reservations whose holder renews them no more."""
    return ReapReport(jobs=requeue_lost(), reservations=(limiter or ConcurrentOperationLimiter()).expire())


def requeue_lost() -> int:
    """Jobs whose worker stopped renewing its lease wait again, or fail once that has happened too often."""
    expired = SeparationJob.objects.filter(states.run_out(), state=JobState.RUNNING)
    return sum(_lose(job) for job in expired.order_by("lease_expires_at")[:BATCH])


def _lose(job: SeparationJob) -> bool:
    again = endings.tries(job, ReasonCode.LOST_WORKER) + 1 < whole("JOB_MAX_ATTEMPTS")
    lost = states.lost(Fence(job.pk, job.attempt_number), again=again)
    if lost:
        logger.warning("worker lost", extra={"job": job.pk, "attempt": job.attempt_number, "host": job.host})
    return lost


def sweep_staging() -> int:
    """Remove this host's folders of attempts that no longer run, and what those had put into storage."""
    return _sweep(staging.abandoned())


def sweep_forsaken(age: timedelta) -> int:
    """Remove those of hosts that are gone, as far as nothing has touched them for `age`."""
    return _sweep(staging.forsaken(age))


def _sweep(found: Iterable[tuple[Fence, Path]]) -> int:
    swept = 0
    for fence, folder in found:
        publishing.sweep(fence.job_id, fence.attempt)
        staging.remove(folder)
        swept += 1
    return swept


def wake_if_needed() -> bool:
    """Send a wake-up when jobs wait that could be claimed and no message is on its way."""
    if tasks.wake_is_pending() or not queue.claimable().exists():
        return False
    tasks.send_wake()
    return True
