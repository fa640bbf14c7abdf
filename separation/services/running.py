"""A worker's turn: claim a job, run the engine under supervision, publish, until nothing can start or time is up.

Owns the order of these steps. Admission is the limiter's, supervision the process manager's, the state
`states.py`'s, and what an ending means `endings.py`'s.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import Error as DatabaseError

from memory.limiter import ConcurrentOperationLimiter
from memory.models import Reservation
from memory.monitor import MemoryMonitor, process_monitor
from memory.processes import OperationLimits, Outcome, ProcessResourceManager
from memory.queueing import Candidate
from memory.registration import register_process
from separation import states, tasks
from separation.engine.environment import engine_environment
from separation.errors import ServiceError
from separation.models import Attempt, SeparationJob
from separation.options import OptionError, SeparationOptions
from separation.services import disk, endings, queue, staging, stopping
from separation.services.children import ENGINE, engine_command, environment
from separation.services.costs import data_limit, engine_threads, process_limit, stall_seconds
from separation.services.numbers import number
from separation.services.supervision import AttemptWatch
from separation.states import Fence, FenceLostError, Reserved

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""Between asking a child to end and killing it: a cancelled job's processes are gone within two seconds."""
TURN_SECONDS = 3600.0
"""A turn ends with the job that is running then; the next wake-up goes on. django-q2 limits how long one may take."""


@dataclass(frozen=True)
class Claimed:
    """A job this worker may run, and what it was given for it."""

    job: SeparationJob
    attempt: Attempt
    reservation_id: int

    @property
    def fence(self) -> Fence:
        return Fence(self.job.pk, self.attempt.number)

    @property
    def context(self) -> dict[str, object]:
        return {"job": self.job.pk, "attempt": self.attempt.number}


def run_ready_jobs() -> int:
    """Run waiting jobs one after the other until none can start now, or TURN_SECONDS have passed; returns how many."""
    return JobRunner().run_all()


class JobRunner:
    """Runs jobs in this process. `engine` is the program a plan is given to."""

    def __init__(
        self,
        *,
        manager: ProcessResourceManager | None = None,
        limiter: ConcurrentOperationLimiter | None = None,
        monitor: MemoryMonitor | None = None,
        engine: Sequence[str] = ENGINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.manager = manager or ProcessResourceManager()
        self.limiter = limiter or ConcurrentOperationLimiter()
        self.monitor = monitor or process_monitor
        self.engine = engine
        self._clock = clock

    def run_all(self) -> int:
        done, end = 0, self._clock() + TURN_SECONDS
        while self._may_work():
            if self._clock() >= end:
                self._pass_on()
                break
            claimed = self.claim()
            if claimed is None:
                break
            self.run(claimed)
            done += 1
        return done

    def _may_work(self) -> bool:
        register_process("worker")
        acceptance = self.monitor.accepting_work()
        if not acceptance.ok:
            logger.warning("taking no jobs: %s", acceptance.reason)
        return acceptance.ok and not stopping.requested()

    # --- claiming

    def claim(self) -> Claimed | None:
        """The next job that fits, with its attempt opened and its memory reserved in the same transaction."""
        waiting = queue.front_of_queue()
        if not waiting:
            return None
        jobs = {str(job.pk): job for job in waiting}
        attempts: dict[str, Attempt] = {}

        def admit(candidate: Candidate, reservation: Reservation) -> bool:
            attempt = self._open(jobs[candidate.key], reservation)
            if attempt is not None:
                attempts[candidate.key] = attempt
            return attempt is not None

        reservation = self.limiter.claim(
            queue.candidates(waiting, self.limiter), kind=queue.KIND, lease_seconds=lease_seconds(), on_admit=admit
        )
        if reservation is None:
            return None
        if len(waiting) > 1:  # more may fit beside the job just claimed
            self._pass_on()
        job = SeparationJob.objects.select_related("track").filter(pk=jobs[reservation.key].pk).first()
        if job is None:  # deleted at this very moment
            self.limiter.release(reservation.pk)
            return None
        return Claimed(job, attempts[reservation.key], reservation.pk)

    def _open(self, job: SeparationJob, reservation: Reservation) -> Attempt | None:
        return states.claim(
            job.pk,
            attempt_number=job.attempt_number,
            host=self.limiter.host_name,
            worker_pid=os.getpid(),
            reserved=Reserved(reservation.pk, reservation.bytes, reservation.bytes, process_limit()),
            lease_seconds=lease_seconds(),
        )

    def _pass_on(self) -> None:
        """Let another worker look. If that cannot be said now, the reaper will."""
        try:
            if not tasks.wake_is_pending():
                tasks.send_wake()
        except DatabaseError:
            logger.warning("no other worker was woken: the database did not answer", exc_info=True)

    # --- running

    def run(self, claimed: Claimed) -> None:
        """Run a claimed job to an end of its attempt, whatever that is, and give back what it held."""
        watch = AttemptWatch(
            claimed.fence,
            reservation_id=claimed.reservation_id,
            limiter=self.limiter,
            lease_seconds=lease_seconds(),
        )
        logger.info("started", extra={**claimed.context, "bytes": claimed.attempt.reserved_bytes})
        try:
            self._run(claimed, watch)
        except (ServiceError, OptionError) as refusal:
            states.fail(claimed.fence, reason=refusal.code, message=refusal.message)
        except FenceLostError as lost:
            logger.warning("result discarded: %s", lost, extra=claimed.context)
        finally:
            self.limiter.release(claimed.reservation_id, peak_bytes=watch.peak_bytes)

    def _run(self, claimed: Claimed, watch: AttemptWatch) -> None:
        disk.require_room(SeparationOptions.parse(claimed.job.options), claimed.job.track.duration_seconds)
        with staging.attempt_folder(claimed.fence) as folder:
            with watch.kept_alive():
                plan = staging.write_plan(claimed.job, folder, threads=self._threads())
            outcome = self._supervise(claimed, plan, watch)
            watch.child_ended()
            endings.settle(claimed.job, claimed.fence, outcome, watch, folder / "out")

    def _threads(self) -> int:
        """A job that runs alone gets every core; with others running or waiting, its share."""
        room = self.limiter.room()
        return engine_threads(min(room.slots, room.heavy_running + queue.claimable()[: room.slots].count()))

    def _supervise(self, claimed: Claimed, plan: Path, watch: AttemptWatch) -> Outcome:
        options = SeparationOptions.parse(claimed.job.options)
        limits = OperationLimits(
            memory_bytes=claimed.attempt.limit_bytes,
            data_bytes=data_limit(claimed.attempt.limit_bytes),
            wall_seconds=number("JOB_TIMEOUT_SECONDS"),
            stall_seconds=stall_seconds(options),
            grace_seconds=GRACE_SECONDS,
        )
        return self.manager.run(
            engine_command(plan, self.engine),
            limits=limits,
            label=f"separation {claimed.job.pk}",
            cwd=plan.parent,
            env={**environment(), **engine_environment(), "TMPDIR": str(plan.parent)},
            on_line=watch.on_line,
            on_sample=watch.on_sample,
            should_stop=watch.should_stop,
        )


def lease_seconds() -> float:
    return number("JOB_LEASE_SECONDS")
