"""The queue: order, positions and reasons, from a bounded look however long it is."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory.estimates import record_peak
from memory.models import Host
from memory.quantities import GIB, MIB
from separation import catalog, states
from separation.models import SeparationJob
from separation.options import SeparationOptions
from separation.services import place_in_queue, queue, waiting_reason, waiting_reasons
from separation.services.running import JobRunner

from .conftest import MakeJob

pytestmark = pytest.mark.django_db(transaction=True)


def position(job: SeparationJob) -> int | None:
    place = place_in_queue(job)
    return place.position if place else None


def place_and_time(job: SeparationJob) -> tuple[int, float | None]:
    place = place_in_queue(job)
    assert place is not None
    return place.position, place.starts_in


def clone(job: SeparationJob, **values: object) -> SeparationJob:
    values = {"owner_id": job.owner_id, "queued_at": Now(), **values}
    return SeparationJob(track_id=job.track_id, model=job.model, options=job.options, **values)


def clones(job: SeparationJob, count: int) -> None:
    SeparationJob.objects.bulk_create(clone(job) for _ in range(count))


def for_others(job: SeparationJob, count: int) -> list[SeparationJob]:
    """A job like it of each of so many further people; who came first has waited for the shortest time."""
    people = User.objects.bulk_create(User(username=f"person {n}") for n in range(count))
    waited = [timezone.now() + timedelta(hours=1, minutes=-n) for n in range(count)]
    rows = [clone(job, owner_id=who.pk, queued_at=at) for who, at in zip(people, waited, strict=True)]
    return SeparationJob.objects.bulk_create(rows)


def test_positions_follow_priority_then_age(make_job: MakeJob) -> None:
    first, second, third = make_job(), make_job(), make_job()
    SeparationJob.objects.filter(pk=third.pk).update(priority=5)
    for job in (first, second, third):
        job.refresh_from_db()
    assert [position(job) for job in (third, first, second)] == [1, 2, 3]


def test_a_job_that_does_not_wait_has_no_position_and_no_reason(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    job.refresh_from_db()
    assert (position(job), waiting_reason(job)) == (None, "")


def test_a_position_is_not_counted_further_than_a_thousand(make_job: MakeJob) -> None:
    job = make_job()
    clones(job, 1200)
    last = SeparationJob.objects.order_by("queued_at", "pk").last()
    assert last is not None and position(last) == 1001


def test_the_position_is_the_order_in_which_jobs_start_not_their_age(make_job: MakeJob, runner: JobRunner) -> None:
    make_job(), make_job(), make_job(), make_job()
    assert runner.claim() and runner.claim()
    other = make_job(owner=User.objects.create_user("bob"))
    assert position(other) == 1


def test_a_waiting_job_starts_when_what_runs_and_what_is_before_it_is_done(
    make_job: MakeJob, runner: JobRunner
) -> None:
    make_job(), make_job()
    third = make_job()
    SeparationJob.objects.update(estimate_seconds=60)
    runner.claim()
    SeparationJob.objects.filter(state="running").update(eta_seconds=15)
    third.refresh_from_db()
    assert place_and_time(third) == (2, 75)


def test_with_nothing_running_it_is_not_known_when_a_job_starts(make_job: MakeJob) -> None:
    assert place_and_time(make_job()) == (1, None)


def test_a_job_that_is_held_back_has_a_place_and_no_time(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    later = make_job()
    runner.claim()
    SeparationJob.objects.filter(pk=later.pk).update(not_before=timezone.now() + timedelta(minutes=5))
    later.refresh_from_db()
    assert place_and_time(later) == (1, None)


def test_a_job_held_up_by_memory_says_so_in_numbers(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.MEMORY_BUDGET_MB = 900
    running, waiting = make_job(), make_job()
    assert runner.claim() is not None
    running.refresh_from_db(), waiting.refresh_from_db()
    assert "needs" in waiting_reason(waiting) and "MB" in waiting_reason(waiting)
    place = place_in_queue(waiting)
    assert place is not None and "MB" in place.reason


def test_someone_with_a_thousand_jobs_does_not_starve_someone_with_one(make_job: MakeJob) -> None:
    clones(make_job(), 1000)
    other = make_job(owner=User.objects.create_user("bob"))
    front = queue.front_of_queue()
    assert other.pk in {job.pk for job in front} and len(front) <= queue.FRONT + queue.OTHER_OWNERS


def test_of_the_people_behind_the_front_those_are_looked_at_who_have_waited_longest(make_job: MakeJob) -> None:
    job = make_job()
    clones(job, queue.FRONT)
    others = for_others(job, queue.OTHER_OWNERS + 5)
    looked_at = [one.pk for one in queue.front_of_queue()[queue.FRONT :]]
    assert looked_at == [one.pk for one in reversed(others[5:])]


def test_of_a_person_behind_the_front_the_job_that_goes_first_is_looked_at(make_job: MakeJob) -> None:
    job = make_job()
    clones(job, queue.FRONT)
    (other,) = for_others(job, 1)
    clone(job, owner_id=other.owner_id, queued_at=timezone.now() + timedelta(hours=2)).save()
    assert [one.pk for one in queue.front_of_queue()[queue.FRONT :]] == [other.pk]


def test_the_front_is_found_by_two_questions_however_many_people_wait(make_job: MakeJob) -> None:
    for_others(make_job(), 150)
    with CaptureQueriesContext(connection) as questions:
        assert len(queue.front_of_queue()) == queue.FRONT + queue.OTHER_OWNERS
    assert len(questions) == 2


def test_the_second_owner_is_served_before_the_first_ones_second_job(make_job: MakeJob, runner: JobRunner) -> None:
    make_job(), make_job()
    other = make_job(owner=User.objects.create_user("bob"))
    runner.claim()
    second = runner.claim()
    assert second is not None and second.job.pk == other.pk


def test_a_claim_asks_a_fixed_number_of_questions_however_long_the_queue(make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    clones(job, 300)
    with CaptureQueriesContext(connection) as few:
        assert runner.claim() is not None
    clones(job, 900)
    with CaptureQueriesContext(connection) as many:
        assert runner.claim() is not None
    assert len(many) <= len(few)


def test_the_questions_of_a_claim_follow_an_index(make_job: MakeJob) -> None:
    clones(make_job(), 500)
    plan = queue.claimable()[:10].explain()
    assert "job_waiting" in plan and "TEMP B-TREE" not in plan and "Sort" not in plan, plan


def test_a_job_held_back_is_not_claimed_before_its_time(make_job: MakeJob, runner: JobRunner) -> None:
    make_job()
    SeparationJob.objects.update(not_before=states.from_now(60))
    assert runner.claim() is None
    SeparationJob.objects.update(not_before=states.from_now(-1))
    assert runner.claim() is not None


def test_a_process_over_its_own_memory_limit_takes_no_jobs(make_job: MakeJob) -> None:
    from memory.monitor import MemoryMonitor

    make_job()
    full = MemoryMonitor(limit=100, warning_threshold=90, check_interval=1, own_rss=lambda: 1000)
    assert JobRunner(monitor=full).run_all() == 0


def test_the_reasons_of_many_jobs_come_from_one_look(make_job: MakeJob, runner: JobRunner, settings) -> None:  # type: ignore[no-untyped-def]
    settings.MEMORY_BUDGET_MB = 900
    jobs = [make_job() for _ in range(8)]
    assert runner.claim() is not None
    for job in jobs:
        job.refresh_from_db()
    with CaptureQueriesContext(connection) as one:
        waiting_reasons(jobs[-1:])
    with CaptureQueriesContext(connection) as many:
        reasons = waiting_reasons(jobs)
    assert len(many) == len(one)
    assert len(reasons) == 7 and all("needs" in reason for reason in reasons.values())


def test_a_job_held_back_after_pressure_says_until_when(make_job: MakeJob) -> None:
    job = make_job()
    SeparationJob.objects.update(not_before=states.from_now(30), message="The server ran out of memory.")
    job.refresh_from_db()
    assert re.fullmatch(r"held back for \d\d s: The server ran out of memory\.", waiting_reason(job))


def test_a_job_that_was_seen_to_need_more_than_any_worker_can_have_gets_its_try(
    make_job: MakeJob,
    runner: JobRunner,
    settings,  # type: ignore[no-untyped-def]
) -> None:
    """However large a host without workers is that shares the database."""
    settings.MEMORY_BUDGET_MB, settings.PROCESS_MEMORY_LIMIT_MB = 1000, 4000
    job = make_job()
    features = catalog.estimate_features(SeparationOptions.parse(job.options), job.lean)
    record_peak(queue.KIND, features, estimated=100 * MIB, observed=2 * GIB)
    Host.objects.create(name="web", heavy_bytes=40 * GIB)
    Host.objects.create(name=runner.limiter.host_name, workers_seen=Now())
    assert runner.run_all() == 1
