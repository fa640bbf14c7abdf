"""From a queued job to its end, with a real child process under real supervision."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import current_thread

import psutil
import pytest
from django.db import OperationalError
from django.db.models import Model
from django.db.models.signals import pre_save
from django_q.models import OrmQ

from memory.limiter import ConcurrentOperationLimiter
from memory.models import MemoryIncident, PeakObservation, Reservation
from separation import states
from separation.errors import ServiceError
from separation.models import JobState, PaceObservation, SeparationJob, Track
from separation.services import cancel, costs, delete_job, disk, retry, stopping
from separation.services.running import TURN_SECONDS, JobRunner
from separation.services.submission import parse_options

from .conftest import STUB, MakeJob, in_background, staged, stored, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
OTHERS: set[psutil.Process] = set()


def separating(job: SeparationJob) -> bool:
    job.refresh_from_db()
    return job.state == JobState.RUNNING and job.phase == "separating"


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Processes that belong to other tests' fixtures and outlive this test."""
    OTHERS.update(psutil.Process().children(recursive=True))
    yield
    OTHERS.clear()


Broken = Callable[[type[Model]], None]


@pytest.fixture
def broken() -> Iterator[Broken]:
    """`broken(model)`: from then on the database fails whenever a row of it is inserted."""

    def fail(**_: object) -> None:
        raise OperationalError("disk I/O error")

    models: list[type[Model]] = []

    def begin(model: type[Model]) -> None:
        models.append(model)
        pre_save.connect(fail, sender=model, weak=False)

    yield begin
    for model in models:
        pre_save.disconnect(fail, sender=model)


def descendants() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child not in OTHERS]


def assert_nothing_left() -> None:
    assert staged() == []
    assert not Reservation.objects.held().exists()
    assert descendants() == []


def test_a_job_succeeds_with_its_stems(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    assert runner.run_all() == 1
    job.refresh_from_db()
    assert (job.state, job.reason, job.progress, job.attempt_number) == (JobState.SUCCEEDED, "", 1.0, 1)
    assert sorted(stem.name for stem in job.stems.all()) == ["bass", "drums", "other", "vocals"]
    assert stored() == [f"stems/{job.pk}/1-{name}.wav" for name in ("bass", "drums", "other", "vocals")]
    assert job.result["effective"]["lean"] == 0
    assert_nothing_left()


def test_the_attempt_records_what_it_took(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    attempt = job.attempts.get()
    assert attempt.outcome == "succeeded" and attempt.ended_at is not None
    assert attempt.peak_bytes > 1024**2 and attempt.cpu_seconds is not None
    assert attempt.limit_bytes == 700 * 1024**2
    assert [event.kind for event in job.events.all()] == ["submitted", "started", "succeeded"]


def test_the_next_estimate_of_time_learns_from_the_run(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    Track.objects.update(duration_seconds=3600)
    runner.run_all()
    job.refresh_from_db()
    options = parse_options(job.options)
    assert costs.estimated_seconds(options, 3600) < costs.guessed_seconds(options, 3600) / 2  # the stand-in is quick


@pytest.mark.parametrize("note", [PaceObservation, PeakObservation])
def test_a_separation_succeeds_though_nothing_can_be_learnt_from_it(
    note: type[Model], make_job: MakeJob, runner: JobRunner, broken: Broken
) -> None:
    job = make_job()
    Track.objects.update(duration_seconds=3600)
    broken(note)
    assert runner.run_all() == 1
    job.refresh_from_db()
    assert (job.state, job.stems.count(), note._default_manager.count()) == (JobState.SUCCEEDED, 4, 0)
    assert_nothing_left()


def test_a_job_fails_with_its_reason_though_no_incident_can_be_kept(
    make_job: MakeJob, runner: JobRunner, broken: Broken
) -> None:
    job = make_job("kill")
    broken(MemoryIncident)
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "engine_killed")


def test_two_stems_give_the_stem_and_the_rest(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job(two_stems="vocals")
    runner.run_all()
    assert sorted(job.stems.values_list("name", flat=True)) == ["no_vocals", "vocals"]


def test_a_stem_has_its_file_and_a_name_to_download_it_by(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job(stems=["bass"], format="flac")
    runner.run_all()
    stem = job.stems.get()
    with stem.file.open() as file:
        assert file.read()[:4] == b"bass"
    assert (stem.download_name, stem.format, stem.size) == ("Song - bass.flac", "flac", 100)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("error unreadable_audio", "unreadable_audio"),
        ("error disk_full", "disk_full"),
        ("error something_new", "engine_crashed"),
        ("crash", "engine_crashed"),
        ("kill", "engine_killed"),
        ("exit 1", "engine_crashed"),
        ("mute", "engine_crashed"),
        ("short", "engine_crashed"),
    ],
)
def test_a_run_that_ends_badly_says_why_and_the_next_job_runs(
    script: str, reason: str, make_job: MakeJob, runner: JobRunner
) -> None:
    bad, good = make_job(script), make_job()
    assert runner.run_all() == 2
    bad.refresh_from_db(), good.refresh_from_db()
    assert (bad.state, bad.reason) == (JobState.FAILED, reason)
    assert bad.message and bad.attempts.get().reason == reason
    assert good.state == JobState.SUCCEEDED
    assert all(name.startswith(f"stems/{good.pk}/") for name in stored())
    assert_nothing_left()


def test_a_job_over_its_memory_limit_is_tried_once_more_one_step_leaner(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("lean 1\nhog")
    assert runner.run_all() == 2
    job.refresh_from_db()
    first, second = job.attempts.all()
    assert (first.outcome, first.reason, first.lean) == ("requeued", "memory_limit", 0)
    assert (second.outcome, second.lean) == ("succeeded", 1)
    assert first.peak_bytes > 600 * 1024**2
    assert job.state == JobState.SUCCEEDED and job.result["effective"]["lean"] == 1


def test_a_job_that_is_over_its_limit_twice_fails_with_both_peaks_and_the_next_one_runs(
    make_job: MakeJob, runner: JobRunner
) -> None:
    hog, good = make_job("hog"), make_job(owner=None)
    assert runner.run_all() == 3
    hog.refresh_from_db(), good.refresh_from_db()
    assert (hog.state, hog.reason) == (JobState.FAILED, "memory_limit")
    assert [(a.outcome, a.reason) for a in hog.attempts.all()] == [
        ("requeued", "memory_limit"),
        ("failed", "memory_limit"),
    ]
    assert all(attempt.peak_bytes > 600 * 1024**2 for attempt in hog.attempts.all())
    assert hog.peak_bytes == max(attempt.peak_bytes for attempt in hog.attempts.all())
    assert good.state == JobState.SUCCEEDED
    assert_nothing_left()


def test_the_same_job_can_be_submitted_again_after_it_was_over_its_limit(make_job: MakeJob, runner: JobRunner) -> None:
    make_job("hog")
    runner.run_all()
    assert make_job("hog").state == JobState.QUEUED


def test_cancelling_a_running_job_ends_its_whole_tree(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("stubborn\nspawn\nsleep")
    thread = in_background(runner.run_all)
    wait_for(lambda: separating(job))
    assert len(descendants()) >= 2
    cancel(job)
    wait_for(lambda: not descendants())
    thread.join()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.CANCELLED, "cancelled")
    assert [event.kind for event in job.events.all()] == ["submitted", "started", "cancel_requested", "cancelled"]
    assert_nothing_left()


def test_cancelling_a_waiting_job_keeps_it_from_running(make_job: MakeJob, runner: JobRunner) -> None:
    job = cancel(make_job())
    assert job.state == JobState.CANCELLED
    assert runner.run_all() == 0


def test_a_finished_job_cannot_be_cancelled(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    with pytest.raises(ServiceError) as refusal:
        cancel(job)
    assert (refusal.value.code, refusal.value.http_status) == ("not_allowed_now", 409)


def test_deleting_a_running_job_ends_it_and_leaves_nothing(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("sleep")
    thread = in_background(runner.run_all)
    wait_for(lambda: separating(job))
    delete_job(job)
    thread.join(timeout=60)
    assert not thread.is_alive() and not SeparationJob.objects.exists()
    assert stored() == []
    assert_nothing_left()


def test_deleting_a_job_removes_its_files(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    delete_job(job)
    assert stored() == []


def test_a_failed_job_can_be_tried_again(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("error decoder_failed")
    runner.run_all()
    retry(job)
    assert (job.state, job.reason, job.attempts_before) == (JobState.QUEUED, "", 1)
    assert runner.run_all() == 1
    assert job.attempts.count() == 2


def test_a_stopping_worker_requeues_its_job_instead_of_failing_it(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("sleep")
    thread = in_background(runner.run_all)
    wait_for(lambda: separating(job))
    stopping.request()
    thread.join(timeout=60)
    job.refresh_from_db()
    assert (job.state, job.attempts.get().outcome) == (JobState.QUEUED, "requeued")
    assert job.attempts.get().reason == "worker_stopped"
    assert_nothing_left()


def test_two_workers_never_run_the_same_job(make_job: MakeJob, runner: JobRunner) -> None:
    jobs = [make_job() for _ in range(6)]
    threads = [in_background(JobRunner(engine=runner.engine).run_all) for _ in range(3)]
    for thread in threads:
        thread.join()
    for job in jobs:
        job.refresh_from_db()
        assert (job.state, job.attempt_number) == (JobState.SUCCEEDED, 1)
    assert_nothing_left()


class OtherWorkers:
    """A clock by which each look takes half a turn, while other workers take every message."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        OrmQ.objects.all().delete()
        self.now += TURN_SECONDS / 2
        return self.now


def test_a_worker_whose_time_is_up_begins_no_other_job_and_wakes_another(make_job: MakeJob) -> None:
    make_job(), make_job()
    assert JobRunner(engine=STUB, clock=OtherWorkers()).run_all() == 1
    assert SeparationJob.objects.filter(state=JobState.QUEUED).count() == 1
    assert OrmQ.objects.count() == 1


def test_a_job_runs_though_no_other_worker_could_be_woken(make_job: MakeJob, runner: JobRunner, broken: Broken) -> None:
    make_job(), make_job()
    OrmQ.objects.all().delete()
    broken(OrmQ)
    assert runner.run_all() == 2
    assert_nothing_left()


def test_a_job_alone_gets_every_core_and_jobs_together_share_them(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "available_cores", lambda: 8)
    jobs = [make_job(), make_job()]
    runner.run_all()
    for job in jobs:
        job.refresh_from_db()
    assert [job.result["effective"]["threads"] for job in jobs] == [4, 8]


def test_progress_and_memory_are_in_the_row_while_it_runs(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("sleep")
    thread = in_background(runner.run_all)

    def told() -> bool:
        job.refresh_from_db()
        return job.progress > 0 and job.current_bytes > 0 and job.eta_seconds is not None

    wait_for(told)
    cancel(job)
    thread.join()


def test_a_submission_enqueues_one_wake_up_in_its_transaction(make_job: MakeJob) -> None:
    make_job()
    assert OrmQ.objects.count() == 1


class OneVictim(ConcurrentOperationLimiter):
    """Says that the machine is out of memory until it has seen one operation go."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1

    def choose_victim(self) -> Reservation | None:
        if self.left and (held := Reservation.objects.held().first()):
            self.left = 0
            return held
        return None


def test_under_host_pressure_the_chosen_job_is_ended_and_waits_for_a_while(make_job: MakeJob) -> None:
    job = make_job("sleep")
    assert JobRunner(engine=STUB, limiter=OneVictim()).run_all() == 1
    job.refresh_from_db()
    assert job.state == JobState.QUEUED and job.not_before is not None
    assert (job.attempts.get().outcome, job.attempts.get().reason) == ("requeued", "host_out_of_memory")
    assert MemoryIncident.objects.filter(kind="host_out_of_memory", operation_key=str(job.pk)).exists()
    assert_nothing_left()


def test_a_job_that_pressure_ends_too_often_fails(make_job: MakeJob, settings) -> None:  # type: ignore[no-untyped-def]
    settings.JOB_MAX_ATTEMPTS = 2
    job = make_job("sleep")
    for _ in range(2):
        SeparationJob.objects.update(not_before=None)
        JobRunner(engine=STUB, limiter=OneVictim()).run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "host_out_of_memory")


def test_a_job_that_would_not_fit_the_disk_does_not_start_and_says_so(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("sleep")
    monkeypatch.setattr(disk, "free_bytes", lambda folder=None: 1000)
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "disk_full") and "1000 bytes are free" in job.message
    assert_nothing_left()


def test_a_job_is_ended_before_the_disk_is_quite_full(
    make_job: MakeJob, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("sleep")
    thread = in_background(runner.run_all)
    wait_for(lambda: separating(job))
    monkeypatch.setattr(disk, "free_bytes", lambda folder=None: disk.LEAST_FREE_BYTES - 1)
    thread.join(timeout=60)
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "disk_full")
    assert_nothing_left()


def test_a_job_whose_options_are_no_longer_valid_fails_with_that_reason(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    SeparationJob.objects.update(options={"model": "starter", "shifts": -3})
    runner.run_all()
    job.refresh_from_db()
    assert (job.state, job.reason) == (JobState.FAILED, "invalid_option")


def test_a_disk_that_runs_short_ends_one_job_and_leaves_the_others(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = make_job("sleep"), make_job("sleep")
    runner, looks = JobRunner(engine=STUB), []
    claims = [runner.claim(), runner.claim()]
    threads = [in_background(partial(runner.run, claimed)) for claimed in claims if claimed]
    wait_for(lambda: separating(first) and separating(last))
    SeparationJob.objects.filter(pk=last.pk).update(started_at=states.from_now(1))

    def free(_folder: object = None) -> int:
        """Too little for the first job's first looks, while the last one sees no reason to go; then the other way."""
        if current_thread() is threads[0]:
            looks.append("first")
        is_short = (current_thread() is threads[0]) == (len(looks) <= 6)
        return disk.LEAST_FREE_BYTES - 1 if is_short else disk.LEAST_FREE_BYTES * 4

    monkeypatch.setattr(disk, "free_bytes", free)
    threads[1].join(timeout=60)
    cancel(first)  # refused, if it has ended
    threads[0].join(timeout=60)
    first.refresh_from_db(), last.refresh_from_db()
    assert (last.state, last.reason) == (JobState.FAILED, "disk_full")
    assert (first.state, len(looks) > 6) == (JobState.CANCELLED, True)
