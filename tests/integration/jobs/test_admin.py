"""The job history in the admin: what it shows, finds and does, and that it neither counts nor scans."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import memory.admin
from memory.admin import AT_ONCE, COUNTED
from separation.models import JobState, SeparationJob, Track
from separation.services.running import JobRunner

from .conftest import MakeJob, stored

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:separation_separationjob_changelist"


@pytest.fixture
def staff(user: User) -> Client:
    boss = User.objects.create_superuser("boss", password="secret")
    client = Client()
    client.force_login(boss)
    return client


def shown(client: Client, **query: str) -> str:
    answer = client.get(reverse(LIST), query)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client: Client, action: str, *jobs: SeparationJob) -> str:
    data = {"action": action, "_selected_action": [str(job.pk) for job in jobs]}
    return client.post(reverse(LIST), data, follow=True).content.decode()


def test_a_job_is_listed_with_its_owner_state_and_memory(staff: Client, make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    SeparationJob.objects.update(estimate_bytes=2 * 1024**3, peak_bytes=1024**3)
    page = shown(staff)
    assert str(job.pk) in page and "ada" in page and "succeeded" in page
    assert "2.0 GB" in page and "50%" in page


def test_a_job_is_shown_with_its_attempts_events_and_stems(staff: Client, make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job("exit 1")
    runner.run_all()
    page = staff.get(reverse("admin:separation_separationjob_change", args=[job.pk])).content.decode()
    assert "some trace" in page and "engine_crashed" in page and "submitted" in page
    assert "The separation engine ended unexpectedly" in page


def test_a_waiting_job_says_why_it_waits(staff: Client, make_job: MakeJob) -> None:
    job = make_job()
    page = staff.get(reverse("admin:separation_separationjob_change", args=[job.pk])).content.decode()
    assert "starts when a worker is free" in page


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({"state": "queued"}, True),
        ({"state": "failed"}, False),
        ({"reason": "memory_limit"}, False),
        ({"q": "Ada"}, True),
        ({"q": "nobody"}, False),
        ({"q": "song"}, True),
        ({"q": "ID"}, True),
        ({"q": "00000000-0000-0000-0000-000000000000"}, False),
    ],
)
def test_filters_and_search_find_it_or_not(
    query: dict[str, str], finds: bool, staff: Client, make_job: MakeJob
) -> None:
    job = make_job()
    asked = {name: str(job.pk) if value == "ID" else value for name, value in query.items()}
    page = shown(staff, **asked)
    assert (f"/{job.pk}/change/" in page) is finds


def test_jobs_are_cancelled_and_tried_again_from_the_list(staff: Client, make_job: MakeJob) -> None:
    job = make_job()
    assert "1 job cancelled" in act(staff, "cancel_jobs", job)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert "1 job queued again" in act(staff, "retry_jobs", job)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_what_cannot_be_done_is_said(staff: Client, make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    assert "Only a job that failed or was cancelled can be tried again." in act(staff, "retry_jobs", job)


def test_one_who_may_only_look_is_offered_no_action(make_job: MakeJob, django_user_model) -> None:  # type: ignore[no-untyped-def]
    from django.contrib.auth.models import Permission

    make_job()
    viewer = django_user_model.objects.create_user("eve", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_separationjob"))
    client = Client()
    client.force_login(viewer)
    assert "cancel_jobs" not in shown(client)


def test_nothing_in_the_history_can_be_edited(staff: Client, make_job: MakeJob) -> None:
    job = make_job()
    answer = staff.post(reverse("admin:separation_separationjob_change", args=[job.pk]), {"model": "x"})
    assert answer.status_code == 403
    job.refresh_from_db()
    assert job.model == "starter"


def test_deleting_from_the_admin_removes_the_files(staff: Client, make_job: MakeJob, runner: JobRunner) -> None:
    job = make_job()
    runner.run_all()
    assert len(stored("")) == 5
    url = reverse("admin:separation_track_delete", args=[job.track_id])
    staff.post(url, {"post": "yes"})
    assert not Track.objects.exists() and not SeparationJob.objects.exists()
    assert stored("") == []


def test_the_list_never_counts_the_whole_table(staff: Client, make_job: MakeJob) -> None:
    make_job()
    with CaptureQueriesContext(connection) as queries:
        shown(staff)
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "separationjob" in query["sql"]]
    assert counts and all(f"LIMIT {COUNTED}" in sql for sql in counts)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by statistics, and sorts what is small")
def test_every_page_of_the_list_follows_an_index(user: User) -> None:
    call_command("make_jobs", count=2000, user="ada")
    jobs = SeparationJob.objects.order_by("-created_at", "-id")
    for chosen in (jobs, jobs.filter(state="failed"), jobs.filter(reason="memory_limit"), jobs.filter(owner=user)):
        plan = chosen[:50].explain()
        assert "USING INDEX" in plan and "TEMP B-TREE" not in plan, plan


def test_jobs_made_in_bulk_are_listed_and_deleted_again(staff: Client) -> None:
    call_command("make_jobs", count=60)
    call_command("make_jobs", count=60)
    page = shown(staff)
    assert "Made in bulk" in page and "memory_limit" in page and SeparationJob.objects.count() == 120
    call_command("make_jobs", delete=True)
    assert not SeparationJob.objects.exists()


def test_a_finished_job_says_where_its_stems_are_kept_and_links_to_nothing_that_is_not_served(
    staff: Client, make_job: MakeJob, runner: JobRunner
) -> None:
    job = make_job()
    runner.run_all()
    stem = job.stems.get(name="vocals")
    for url in (
        reverse("admin:separation_separationjob_change", args=[job.pk]),
        reverse("admin:separation_track_change", args=[job.track_id]),
    ):
        page = staff.get(url).content.decode()
        assert 'href="/media/' not in page
    assert (
        str(stem.file.name)
        in staff.get(reverse("admin:separation_separationjob_change", args=[job.pk])).content.decode()
    )


def test_events_are_told_apart_by_the_second(staff: Client, make_job: MakeJob) -> None:
    job = make_job()
    event = job.events.get(kind="submitted")
    page = staff.get(reverse("admin:separation_separationjob_change", args=[job.pk])).content.decode()
    assert f"{event.at:%Y-%m-%d %H:%M:%S}" in page


def test_an_action_on_more_rows_than_a_request_can_take_is_refused_in_words(
    staff: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.admin, "AT_ONCE", 1)
    first = make_job()
    make_job()
    for action in ("delete_selected", "cancel_jobs"):
        data = {"action": action, "_selected_action": [str(first.pk)], "select_across": "1"}
        page = staff.post(reverse(LIST), data, follow=True).content.decode()
        assert "At most 1 at a time." in page and "Are you sure" not in page
    assert [job.state for job in SeparationJob.objects.all()] == [JobState.QUEUED] * 2


def test_as_many_rows_as_a_request_can_take_are_deleted(staff: Client, user: User) -> None:
    track = Track.objects.create(owner=user, original_name="a.wav", size=1)
    SeparationJob.objects.bulk_create(
        SeparationJob(owner=user, track=track, model="starter", state=JobState.FAILED) for _ in range(AT_ONCE)
    )
    pks = [str(pk) for pk in SeparationJob.objects.values_list("pk", flat=True)]
    chosen = {"action": "delete_selected", "_selected_action": pks[:1], "select_across": "1"}
    assert staff.post(reverse(LIST), chosen).content.decode().count('name="_selected_action"') == AT_ONCE
    staff.post(reverse(LIST), {"action": "delete_selected", "_selected_action": pks, "post": "yes"})
    assert SeparationJob.objects.count() == 0
