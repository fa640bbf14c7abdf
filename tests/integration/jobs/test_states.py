"""The arrows of the state diagram: each happens once, under its attempt's number, with an event; or not at all."""

import pytest
from django.db.models.functions import Now

from separation import states
from separation.models import Attempt, JobEvent, JobState, SeparationJob, Stem
from separation.states import AttemptReport, Fence, FenceLostError, Reserved

from .conftest import MakeJob

pytestmark = pytest.mark.django_db

RESERVED = Reserved(reservation_id=7, reserved_bytes=200, estimate_bytes=100, limit_bytes=300)


@pytest.fixture
def user(db: None, django_user_model):  # type: ignore[no-untyped-def]
    return django_user_model.objects.create_user("ada")


@pytest.fixture
def job(make_job: MakeJob) -> SeparationJob:
    return make_job()


def claim(job: SeparationJob, number: int = 0) -> Attempt | None:
    return states.claim(job.pk, attempt_number=number, host="here", worker_pid=1, reserved=RESERVED, lease_seconds=60)


def reread(job: SeparationJob) -> SeparationJob:
    job.refresh_from_db()
    return job


@pytest.fixture
def fence(job: SeparationJob) -> Fence:
    assert claim(job) is not None
    return Fence(job.pk, 1)


def kinds(job: SeparationJob) -> list[str]:
    return [event.kind for event in job.events.all()]


def stem(job: SeparationJob, name: str = "bass") -> Stem:
    return Stem(
        job=job, name=name, file="x", format="wav", size=1, sha256="0" * 64, crc32=0, samples=1, sample_rate=44100
    )


def test_a_claim_opens_an_attempt_and_starts_a_lease(job: SeparationJob) -> None:
    attempt = claim(job)
    assert attempt is not None and attempt.number == 1 and attempt.reservation_id == 7
    assert (reread(job).state, job.attempt_number, job.reserved_bytes) == (JobState.RUNNING, 1, 200)
    assert SeparationJob.objects.filter(lease_expires_at__gt=Now()).exists()


def test_a_second_claim_of_the_same_attempt_changes_nothing(job: SeparationJob) -> None:
    claim(job)
    assert claim(job) is None
    assert Attempt.objects.count() == 1 and kinds(job) == ["submitted", "started"]


def test_a_claim_that_saw_an_older_attempt_number_changes_nothing(job: SeparationJob, fence: Fence) -> None:
    states.requeue(fence, reason="lost_worker")
    assert claim(job, number=0) is None
    assert claim(job, number=1) is not None


def test_success_needs_the_fence_and_writes_stems_with_it(job: SeparationJob, fence: Fence) -> None:
    states.succeed(fence, stems=[stem(job)], result={"a": 1}, report=AttemptReport(peak_bytes=9))
    assert (reread(job).state, job.progress, job.peak_bytes, job.result) == (JobState.SUCCEEDED, 1.0, 9, {"a": 1})
    assert job.attempts.get().outcome == "succeeded" and job.stems.count() == 1
    assert job.lease_expires_at is None and job.finished_at is not None


def test_progress_never_shows_more_memory_in_use_than_the_peak(job: SeparationJob, fence: Fence) -> None:
    states.progressed(fence, phase="separating", progress=0.1, eta_seconds=None, current_bytes=70)
    states.progressed(fence, phase="separating", progress=0.2, eta_seconds=None, current_bytes=50)
    assert (reread(job).current_bytes, job.peak_bytes) == (50, 70)


def test_success_after_the_fence_is_lost_writes_nothing(job: SeparationJob, fence: Fence) -> None:
    states.requeue(fence, reason="lost_worker")
    claim(job, number=1)
    with pytest.raises(FenceLostError):
        states.succeed(fence, stems=[stem(job)], result={})
    assert reread(job).state == JobState.RUNNING and not job.stems.exists()


@pytest.mark.parametrize(
    "late",
    [
        lambda fence: states.fail(fence, reason="stalled"),
        lambda fence: states.cancelled(fence),
        lambda fence: states.requeue(fence, reason="stalled"),
        lambda fence: states.lost(fence, again=True),
        lambda fence: states.heartbeat(fence, lease_seconds=60),
        lambda fence: states.progressed(fence, phase="x", progress=0.5, eta_seconds=None, current_bytes=1),
        lambda fence: states.request_cancel(fence.job_id, attempt_number=fence.attempt),
    ],
)
def test_a_late_actor_changes_nothing(late, job: SeparationJob, fence: Fence) -> None:  # type: ignore[no-untyped-def]
    states.succeed(fence, stems=[], result={})
    before = (SeparationJob.objects.values().get(), list(Attempt.objects.values()), JobEvent.objects.count())
    assert late(fence) is False
    assert (SeparationJob.objects.values().get(), list(Attempt.objects.values()), JobEvent.objects.count()) == before


def test_failure_keeps_reason_sentence_and_evidence(job: SeparationJob, fence: Fence) -> None:
    assert states.fail(fence, reason="stalled", report=AttemptReport(peak_bytes=5, stderr_tail="trace\0"))
    assert (reread(job).state, job.reason) == (JobState.FAILED, "stalled")
    assert job.message.startswith("The job stopped making progress")
    assert job.attempts.get().stderr_tail == "trace"


def test_a_requeued_job_keeps_its_place_in_the_queue_and_its_history(job: SeparationJob, fence: Fence) -> None:
    place = reread(job).queued_at
    states.requeue(fence, reason="memory_limit", message="Once more.", lean=1, report=AttemptReport(peak_bytes=8))
    assert reread(job).queued_at == place
    assert (reread(job).state, job.lean, job.progress, job.peak_bytes) == (JobState.QUEUED, 1, 0.0, 8)
    assert (job.message, job.reason, job.not_before) == ("Once more.", "", None)
    assert job.attempts.get().outcome == "requeued"


def test_a_job_held_back_is_not_claimable_before_its_time(job: SeparationJob, fence: Fence) -> None:
    states.requeue(fence, reason="host_out_of_memory", delay_seconds=60)
    assert SeparationJob.objects.filter(not_before__gt=Now()).exists()


def test_requeueing_a_job_whose_cancellation_was_asked_for_cancels_it(job: SeparationJob, fence: Fence) -> None:
    states.request_cancel(job.pk, attempt_number=1)
    assert states.requeue(fence, reason="lost_worker")
    assert reread(job).state == JobState.CANCELLED


def test_asking_twice_to_cancel_is_recorded_once(job: SeparationJob, fence: Fence) -> None:
    assert states.request_cancel(job.pk, attempt_number=1)
    assert states.request_cancel(job.pk, attempt_number=1)
    assert kinds(job).count("cancel_requested") == 1


def test_a_lease_that_was_renewed_is_not_lost(job: SeparationJob, fence: Fence) -> None:
    assert states.lost(fence, again=True) is False
    assert reread(job).state == JobState.RUNNING


@pytest.mark.parametrize(("again", "state"), [(True, JobState.QUEUED), (False, JobState.FAILED)])
def test_a_lease_that_ran_out_requeues_or_fails(again: bool, state: str, job: SeparationJob, fence: Fence) -> None:
    SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
    assert states.lost(fence, again=again)
    assert reread(job).state == state and job.attempts.get().reason == "lost_worker"


def test_a_lost_job_whose_cancellation_was_asked_for_is_cancelled(job: SeparationJob, fence: Fence) -> None:
    states.request_cancel(job.pk, attempt_number=1)
    SeparationJob.objects.update(lease_expires_at=states.from_now(-1))
    assert states.lost(fence, again=True)
    assert reread(job).state == JobState.CANCELLED


def test_a_heartbeat_moves_the_lease_and_never_lowers_the_peak(job: SeparationJob, fence: Fence) -> None:
    before = reread(job).lease_expires_at
    assert states.heartbeat(fence, lease_seconds=600, current_bytes=5, peak_bytes=9)
    assert states.heartbeat(fence, lease_seconds=600, current_bytes=2, peak_bytes=3)
    assert (reread(job).current_bytes, job.peak_bytes) == (2, 9)
    assert job.lease_expires_at is not None and before is not None and job.lease_expires_at > before


def test_a_retry_by_a_person_counts_attempts_anew(job: SeparationJob, fence: Fence) -> None:
    states.fail(fence, reason="lost_worker")
    assert states.retry(job.pk, attempt_number=1)
    assert (reread(job).state, job.attempts_before, job.lean) == (JobState.QUEUED, 1, 0)


def test_a_succeeded_job_cannot_be_retried(job: SeparationJob, fence: Fence) -> None:
    states.succeed(fence, stems=[], result={})
    assert states.retry(job.pk, attempt_number=1) is False


def test_every_change_of_state_is_announced(job: SeparationJob) -> None:
    heard: list[str] = []

    def listen(state: str, **_: object) -> None:
        heard.append(state)

    states.job_changed.connect(listen)
    claim(job)
    states.fail(Fence(job.pk, 1), reason="stalled")
    states.job_changed.disconnect(listen)
    assert heard == ["running", "failed"]
