"""Which jobs wait, in what order, and why: bounded questions to a table that may hold a million rows.

Owns reading the queue. Who is admitted next is decided by `memory.limiter`; claiming is in `running.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from memory.limiter import ConcurrentOperationLimiter
from memory.queueing import Candidate
from separation import catalog
from separation.models import JobState, SeparationJob
from separation.options import OptionError, SeparationOptions
from separation.services.costs import KIND, estimated_bytes, process_limit
from separation.services.forecast import starts

FRONT = 100
"""How many jobs from the front of the queue one claim looks at."""
OTHER_OWNERS = 30
"""How many further people, whose jobs are not at the front, are looked at besides."""
MOST_COUNTED = 1000


def waiting() -> QuerySet[SeparationJob]:
    """Queued jobs in the order of the queue."""
    queued = SeparationJob.objects.filter(state=JobState.QUEUED).select_related("track")
    return queued.order_by("-priority", "queued_at", "id")


def claimable() -> QuerySet[SeparationJob]:
    """Queued jobs that may start now."""
    return waiting().filter(Q(not_before=None) | Q(not_before__lte=Now()), cancel_requested_at=None)


def front_of_queue() -> list[SeparationJob]:
    """The first jobs of the queue and, when it is longer, the first job of others, so that no one is starved."""
    front = list(claimable()[:FRONT])
    if len(front) < FRONT:
        return front
    return front + _heads_of_others({job.owner_id for job in front})


def _heads_of_others(seen: set[int]) -> list[SeparationJob]:
    """The first job of each person who is not `seen`, in the order of the queue."""
    own = claimable().select_related(None).filter(owner_id=OuterRef("owner_id"))
    first = own.order_by("-priority", "queued_at").values("pk")[:1]  # and not by id: this order is that of an index
    return list(claimable().exclude(owner_id__in=seen).filter(pk=Subquery(first))[:OTHER_OWNERS])


def candidates(jobs: Iterable[SeparationJob], limiter: ConcurrentOperationLimiter) -> list[Candidate]:
    """What the limiter needs to know of waiting jobs.

    An estimate that rose above what one operation may ever have is cut to that: such a job gets its try,
    and the supervisor its say.
    """
    most, prices = limiter.largest_operation(), Prices()
    return [_candidate(job, min(prices.of(job), most)) for job in jobs]


class Prices:
    """Estimates of many jobs; those that ask for the same are looked up once."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}

    def of(self, job: SeparationJob) -> int:
        """Bytes the job is expected to need, as far as is known today."""
        try:
            options = SeparationOptions.parse(job.options)
        except OptionError:
            return job.estimate_bytes
        features = tuple(catalog.estimate_features(options, job.lean).items())
        if features not in self._known:
            self._known[features] = estimated_bytes(options, job.lean)
        return self._known[features]


def _candidate(job: SeparationJob, size: int) -> Candidate:
    return Candidate(
        key=str(job.pk),
        bytes=size,
        owner=str(job.owner_id),
        priority=job.priority,
        waiting_since=job.queued_at,
        label=f"{job.track.display_name} ({job.model})",
        limit=process_limit(),
    )


def waiting_candidates() -> list[Candidate]:
    """What waits, for the live picture of memory."""
    limiter = ConcurrentOperationLimiter()
    return candidates(front_of_queue(), limiter)


@dataclass(frozen=True)
class Place:
    """Where a waiting job stands: 1 is next. `starts_in`, in seconds, is None where it cannot be told: nothing runs,
    the job is held back, or it is far behind. `reason` says in words with numbers why it has not started."""

    position: int
    starts_in: float | None
    reason: str


def place_in_queue(job: SeparationJob) -> Place | None:
    """The place of a job in the order in which jobs will start, None for one that does not wait.

    Of a job that is far behind only the older ones are counted, and no further than to 1001.
    """
    if job.state != JobState.QUEUED:
        return None
    front, running, key = front_of_queue(), _running(), str(job.pk)
    reason = _reasons([job], front, ConcurrentOperationLimiter())[job.pk]
    found = starts([_turn(other) for other in front], {str(j.pk): j.estimate_seconds or 0.0 for j in front}, running)
    if key not in found:
        return Place(_counted(job), None, reason)
    return Place([*found].index(key) + 1, found[key] if running else None, reason)


def _running() -> list[tuple[float, str]]:
    """What each running job still takes, in seconds, and its owner."""
    jobs = SeparationJob.objects.filter(state=JobState.RUNNING).only(
        "owner_id", "eta_seconds", "estimate_seconds", "progress"
    )
    return [(_left(job), str(job.owner_id)) for job in jobs]


def _left(job: SeparationJob) -> float:
    guessed = (job.estimate_seconds or 0.0) * (1 - job.progress)
    return guessed if job.eta_seconds is None else job.eta_seconds


def _turn(job: SeparationJob) -> Candidate:
    """A job as far as its turn goes: its memory is not looked at."""
    return Candidate(str(job.pk), 0, str(job.owner_id), job.priority, waiting_since=job.queued_at)


def _counted(job: SeparationJob) -> int:
    earlier = Q(queued_at__lt=job.queued_at) | Q(queued_at=job.queued_at, pk__lt=job.pk)
    # The job itself is left out by name: SQLite keeps milliseconds, which a Python moment never equals.
    ahead = waiting().filter(Q(priority__gt=job.priority) | Q(earlier, priority=job.priority)).exclude(pk=job.pk)
    return ahead.order_by()[:MOST_COUNTED].count() + 1


def waiting_reason(job: SeparationJob, limiter: ConcurrentOperationLimiter | None = None) -> str:
    """Why a queued job has not started, in words with numbers; empty for one that does not wait."""
    return waiting_reasons([job], limiter).get(job.pk, "")


def waiting_reasons(
    jobs: Iterable[SeparationJob], limiter: ConcurrentOperationLimiter | None = None
) -> dict[UUID, str]:
    """The same for those of `jobs` that wait, from one look at queue and memory."""
    wanted = [job for job in jobs if job.state == JobState.QUEUED]
    return _reasons(wanted, front_of_queue(), limiter or ConcurrentOperationLimiter()) if wanted else {}


def _reasons(
    wanted: Sequence[SeparationJob], front: Sequence[SeparationJob], limiter: ConcurrentOperationLimiter
) -> dict[UUID, str]:
    ahead = {job.pk for job in front}
    behind = [job for job in wanted if job.pk not in ahead]
    reasons = limiter.waiting_reasons(candidates([*front, *behind], limiter))
    return {job.pk: held_back(job) or reasons.get(str(job.pk), "") for job in wanted}


def held_back(job: SeparationJob) -> str:
    """Why a job may not start yet although there may be room for it."""
    if job.not_before is None or job.not_before <= timezone.now():
        return ""
    return f"held back for {(job.not_before - timezone.now()).total_seconds():.0f} s: {job.message}"


__all__ = [
    "KIND",
    "candidates",
    "claimable",
    "front_of_queue",
    "place_in_queue",
    "waiting",
    "waiting_candidates",
    "waiting_reason",
    "waiting_reasons",
]
