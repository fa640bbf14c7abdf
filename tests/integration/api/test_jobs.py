"""Jobs and tracks through the API."""

import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.models import TextField, Value
from django.db.models.functions import Now
from django.db.models.signals import pre_save
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.response import Response

from memory.monitor import MemoryMonitor, process_monitor
from separation import ledger, services
from separation.api import idempotency
from separation.api.idempotency import forget_old, once
from separation.api.models import IdempotentRequest
from separation.models import JobState, SeparationJob, Submission, Track
from separation.services.durability import durable
from tests.integration.api.conftest import Api, code_of, make_job, make_stem, make_track

JOBS = "/api/v1/jobs/"


def test_a_job_is_accepted_with_its_address(api: Api, track: Track) -> None:
    response = api("POST", JOBS, {"track": str(track.pk), "model": "starter", "stems": ["vocals"], "format": "flac"})
    body = response.json()
    assert (response.status_code, response["Location"]) == (202, f"/api/v1/jobs/{body['id']}/")
    assert (body["state"], body["progress"], body["options"]["stems"]) == ("queued", 0.0, ["vocals"])
    assert body["memory"]["estimate"] > 0
    assert response["Retry-After"]
    waiting = api("GET", response["Location"]).json()
    assert (waiting["queue_position"], waiting["starts_in_seconds"]) == (1, None)


def test_a_queued_job_says_why_it_waits(api: Api, track: Track) -> None:
    location = api("POST", JOBS, {"track": str(track.pk)})["Location"]
    SeparationJob.objects.update(not_before=timezone.now() + timedelta(seconds=600), message="Memory ran out.")
    assert re.fullmatch(r"held back for \d+ s: Memory ran out\.", api("GET", location).json()["waiting_reason"])


def test_the_same_again_gives_the_finished_job(api: Api, track: Track) -> None:
    first = api("POST", JOBS, {"track": str(track.pk), "model": "starter"}).json()
    job = SeparationJob.objects.get(pk=first["id"])
    SeparationJob.objects.update(state=JobState.SUCCEEDED, progress=1.0)
    for name in ("vocals", "drums", "bass", "other"):
        make_stem(job, name, b"abcd")
    again = api("POST", JOBS, {"track": str(track.pk), "model": "starter"})
    assert (again.status_code, again.json()["id"], again.json()["reused"]) == (200, first["id"], True)
    forced = api("POST", JOBS, {"track": str(track.pk), "model": "starter", "force": True})
    assert (forced.status_code, forced.json()["reused"]) == (202, False)


def test_a_finished_job_that_lacks_one_of_its_stems_is_not_given_instead(api: Api, track: Track) -> None:
    wanted = {"track": str(track.pk), "model": "starter"}
    first = api("POST", JOBS, wanted).json()
    SeparationJob.objects.update(state=JobState.SUCCEEDED, progress=1.0)
    for name in ("vocals", "drums", "bass"):
        make_stem(SeparationJob.objects.get(), name, b"abcd")
    again = api("POST", JOBS, wanted)
    assert (again.status_code, again.json()["reused"]) == (202, False) and again.json()["id"] != first["id"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"model": "../../etc/passwd"}, "unknown_model", "model"),
        ({"model": 5}, "unknown_model", "model"),
        ({"stems": ["kazoo"]}, "unknown_stem", "stems"),
        ({"stems": []}, "invalid_option", "stems"),
        ({"shifts": -1}, "invalid_option", "shifts"),
        ({"shifts": 1e9}, "invalid_option", "shifts"),
        ({"format": "exe"}, "invalid_option", "format"),
        ({"quality": {"bits": 17}}, "invalid_option", "quality"),
        ({"owner": 1}, "unknown_option", "owner"),
        ({"state": "succeeded"}, "unknown_option", "state"),
        ({"priority": 9}, "unknown_option", "priority"),
        ({"force": "yes"}, "invalid_option", "force"),
        ({"webhook_url": "http://127.0.0.1/"}, "webhook_target", "webhook_url"),
        ({"webhook_url": "file:///etc/passwd"}, "webhook_target", "webhook_url"),
        ({"model": "mdx_q"}, "model_unavailable", "model"),
        ({"track": "not-an-id"}, "invalid_option", "track"),
        ({"track": None}, "invalid_option", "track"),
        ({"track": str(uuid4())}, "not_found", "track"),
    ],
)
def test_a_request_that_cannot_be_carried_out_names_its_field(
    api: Api, track: Track, body: dict[str, Any], code: str, field: str
) -> None:
    response = api("POST", JOBS, {"track": str(track.pk), **body})
    assert (response.status_code, code_of(response), response.json()["field"]) == (422, code, field)
    assert SeparationJob.objects.count() == 0


def test_a_track_of_someone_else_cannot_be_separated(others_api: Api, track: Track) -> None:
    wanted = {"track": str(track.pk)}
    assert code_of(others_api("POST", JOBS, wanted)) == "not_found"
    assert code_of(others_api("POST", "/api/v1/estimates/", wanted)) == "not_found"
    [result] = others_api("POST", f"{JOBS}batch/", {"jobs": [wanted]}).json()["results"]
    assert (result["status"], result["problem"]["code"]) == (422, "not_found")


@pytest.mark.django_db(transaction=True)
def test_a_job_for_a_track_that_is_deleted_meanwhile_is_a_conflict(api: Api, track: Track) -> None:
    def lose_track(instance: SeparationJob, **_: Any) -> None:
        Track.objects.filter(pk=track.pk).delete()

    pre_save.connect(lose_track, sender=SeparationJob)
    try:
        response = api("POST", JOBS, {"track": str(track.pk)})
    finally:
        pre_save.disconnect(lose_track, sender=SeparationJob)
    assert (response.status_code, code_of(response), response["Retry-After"]) == (409, "not_allowed_now", "2")


@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("HEAD", ""), ("DELETE", ""), ("POST", "cancel/"), ("POST", "retry/"), ("POST", "link/")],
)
def test_a_job_of_someone_else_is_not_there(others_api: Api, finished: SeparationJob, method: str, suffix: str) -> None:
    assert others_api(method, f"{JOBS}{finished.pk}/{suffix}").status_code == 404
    assert SeparationJob.objects.count() == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_track_of_someone_else_is_not_there(others_api: Api, track: Track, method: str) -> None:
    assert others_api(method, f"/api/v1/tracks/{track.pk}/").status_code == 404
    assert Track.objects.count() == 1


@pytest.mark.parametrize(
    "path",
    [
        "tracks/",
        "jobs/",
        "models/",
        "limits/",
        "tokens/",
        "webhooks/",
        "memory/",
        "jobs/00000000-0000-4000-8000-000000000000/",
    ],
)
def test_nobody_is_asked_to_sign_in(anyone: Api, path: str) -> None:
    response = anyone("GET", f"/api/v1/{path}")
    assert (response.status_code, code_of(response)) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_cancelling_ends_a_waiting_job_once(api: Api, track: Track) -> None:
    job = make_job(track)
    assert api("POST", f"{JOBS}{job.pk}/cancel/").json()["state"] == "cancelled"
    again = api("POST", f"{JOBS}{job.pk}/cancel/")
    assert (again.status_code, code_of(again)) == (409, "not_allowed_now")


def test_a_failed_job_can_be_tried_again(api: Api, track: Track) -> None:
    job = make_job(track, JobState.FAILED)
    response = api("POST", f"{JOBS}{job.pk}/retry/")
    assert (response.status_code, response.json()["state"]) == (202, "queued")


def test_deleting_a_job_deletes_its_stems(api: Api, finished: SeparationJob) -> None:
    stem = finished.stems.get(name="vocals")
    assert api("DELETE", f"{JOBS}{finished.pk}/").status_code == 204
    assert api("GET", f"{JOBS}{finished.pk}/").status_code == 404
    assert api("GET", f"/api/v1/stems/{stem.pk}/audio").status_code == 404


def test_deleting_a_track_deletes_its_jobs(api: Api, finished: SeparationJob) -> None:
    assert api("DELETE", f"/api/v1/tracks/{finished.track_id}/").status_code == 204
    assert SeparationJob.objects.count() == 0


def test_a_batch_accepts_and_refuses_each_job_on_its_own(api: Api, track: Track) -> None:
    good, bad = {"track": str(track.pk)}, {"track": str(track.pk), "model": "nothing"}
    results = api("POST", f"{JOBS}batch/", {"jobs": [good, bad, 5]}).json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422]
    assert results[1]["problem"]["code"] == "unknown_model"


def test_a_batch_under_a_key_is_made_once_though_the_database_was_busy_for_one_of_its_jobs(
    api: Api, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([None, OperationalError("database is locked"), RuntimeError("secret detail")])
    body = {"jobs": [{"track": str(track.pk)}] * 3}
    with monkeypatch.context() as patch:
        patch.setattr(services, "submit", failing(services.submit, errors))
        first = api("POST", f"{JOBS}batch/", body, Idempotency_Key="k").json()
    assert [result["status"] for result in first["results"]] == [202, 503, 500]
    assert "secret detail" not in str(first)
    assert api("POST", f"{JOBS}batch/", body, Idempotency_Key="k").json() == first
    assert SeparationJob.objects.count() == 1


def failing(function: Callable[..., Any], errors: Iterator[Exception | None]) -> Callable[..., Any]:
    """`function`, raising the next of `errors` instead where it is one."""

    def called(*args: Any, **kwargs: Any) -> Any:
        if error := next(errors):
            raise error
        return function(*args, **kwargs)

    return called


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": {}}, {"jobs": [{}] * 51}, {"jobs": [], "x": 1}])
def test_a_batch_is_a_list_of_reasonable_length(api: Api, track: Track, body: dict[str, Any]) -> None:
    assert api("POST", f"{JOBS}batch/", body).status_code == 422


def test_an_estimate_is_given_before_asking(api: Api, track: Track) -> None:
    body = api("POST", "/api/v1/estimates/", {"track": str(track.pk), "model": "starter"}).json()
    assert body["bytes"] > 0 and body["seconds"] > 0 and body["fits"] is True
    assert SeparationJob.objects.count() == 0


def test_pages_follow_each_other_without_gap_or_repetition(api: Api, owner: User) -> None:
    wanted = [str(make_track(owner, f"{i}.wav").pk) for i in range(7)]
    Track.objects.update(created_at=Track.objects.first().created_at)  # type: ignore[union-attr]
    seen, path = [], "/api/v1/tracks/?page_size=3"
    while path:
        page = api("GET", path).json()
        seen += [row["id"] for row in page["results"]]
        path = page["next"]
    assert (len(seen), sorted(seen)) == (7, sorted(wanted))


def test_pages_go_oldest_first_when_asked(api: Api, owner: User) -> None:
    for i in range(5):
        make_track(owner, f"{i}.wav")
    first = api("GET", "/api/v1/tracks/?page_size=3&ordering=created_at").json()
    second = api("GET", first["next"]).json()
    moments = [datetime.fromisoformat(row["created_at"]) for row in first["results"] + second["results"]]
    assert moments == sorted(moments) and len(moments) == 5


@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=1000000000",
        "page_size=-1",
        "page_size=x",
        "page_size=٣",
        "ordering=name",
        "cursor=nonsense",
        "cursor=WyJhIl0:aaaa",
        "state=lost",
        "track=5",
        "created_after=yesterday",
        "created_after=2026-99-01T00:00:00Z",
        "created_before=0001-01-01T00:00:00%2B23:00",
        "stat=queued",
        "state=queued&state=failed",
        "model=%00",
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    response = api("GET", f"{JOBS}?{query}")
    assert (response.status_code, code_of(response) in ("invalid_parameter", "invalid_cursor")) == (400, True)


def test_a_cursor_of_another_ordering_is_refused(api: Api, owner: User) -> None:
    for i in range(3):
        make_track(owner, f"{i}.wav")
    path = api("GET", "/api/v1/tracks/?page_size=1").json()["next"]
    assert code_of(api("GET", f"{path}&ordering=created_at")) == "invalid_cursor"


def test_jobs_are_filtered(api: Api, track: Track) -> None:
    make_job(track, JobState.FAILED)
    queued = make_job(track)
    found = api("GET", f"{JOBS}?state=queued&track={track.pk}&model=starter&created_after=2020-01-01T00:00:00Z")
    assert [row["id"] for row in found.json()["results"]] == [str(queued.pk)]


WRITTEN: dict[str, Callable[[datetime], Any]] = {
    "by Python": lambda moment: moment.replace(microsecond=123456),
    "by Python at a whole millisecond": lambda moment: moment.replace(microsecond=120000),
    "by Python at a whole second": lambda moment: moment.replace(microsecond=0),
    "by the database": lambda _: Now(),
    "by the database at a whole second": lambda moment: kept_with_decimals(moment.replace(microsecond=0)),
}


def kept_with_decimals(moment: datetime) -> Any:
    """As Now() writes it on SQLite: with three decimals."""
    if connection.vendor != "sqlite":
        return moment
    return Value(f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}", output_field=TextField())


@pytest.mark.parametrize("writer", WRITTEN)
def test_a_job_is_neither_before_nor_after_its_own_moment(api: Api, track: Track, writer: str) -> None:
    job = make_job(track)
    SeparationJob.objects.update(created_at=WRITTEN[writer](job.created_at))
    own = api("GET", f"{JOBS}{job.pk}/").json()["created_at"]
    earlier, later = ((datetime.fromisoformat(own) + timedelta(microseconds=step)).isoformat() for step in (-1, 1))
    found = {
        (name, moment): len(api("GET", f"{JOBS}?{name}={quote(moment)}").json()["results"])
        for name in ("created_before", "created_after")
        for moment in (earlier, own, later)
    }
    assert [key for key, count in found.items() if count] == [("created_before", later), ("created_after", earlier)]


def test_polling_an_unchanged_job_costs_a_304(api: Api, finished: SeparationJob) -> None:
    etag = api("GET", f"{JOBS}{finished.pk}/")["ETag"]
    assert etag.startswith('W/"')
    response = api("GET", f"{JOBS}{finished.pk}/", If_None_Match=etag)
    assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    SeparationJob.objects.update(message="changed")
    assert api("GET", f"{JOBS}{finished.pk}/", If_None_Match=etag).status_code == 200


def test_a_request_sent_twice_under_one_key_is_carried_out_once(api: Api, track: Track) -> None:
    body = {"track": str(track.pk)}
    first = api("POST", JOBS, body, Idempotency_Key="k1")
    second = api("POST", JOBS, body, Idempotency_Key="k1")
    assert (second.status_code, second.json(), second["Location"]) == (202, first.json(), first["Location"])
    assert second["Idempotent-Replayed"] == "true"
    assert SeparationJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_interruption_after_the_commit_costs_no_second_job(owner: User) -> None:
    track, request = make_track(owner), RequestFactory().post("/", headers={"Idempotency-Key": "k"})

    def act() -> Response:
        transaction.on_commit(sys.exit)
        make_job(track)
        return Response({"done": True}, status=202)

    with pytest.raises(SystemExit):
        once(request, owner, {}, act, within=durable)
    assert once(request, owner, {}, act, within=durable).status_code == 202
    assert SeparationJob.objects.count() == 1


def test_no_job_is_made_whose_answer_cannot_be_kept(api: Api, track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    body, errors = {"track": str(track.pk)}, iter([OperationalError("database is locked")])
    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "_keep", failing(idempotency._keep, errors))
        assert api("POST", JOBS, body, Idempotency_Key="k1").status_code == 503
    assert api("POST", JOBS, body, Idempotency_Key="k1").status_code == 202
    assert SeparationJob.objects.count() == 1


def test_another_body_under_the_same_key_is_refused(api: Api, track: Track) -> None:
    api("POST", JOBS, {"track": str(track.pk)}, Idempotency_Key="k1")
    response = api("POST", JOBS, {"track": str(track.pk), "shifts": 2}, Idempotency_Key="k1")
    assert (response.status_code, code_of(response)) == (422, "idempotency_mismatch")


def test_the_same_request_while_the_first_is_worked_on_is_a_conflict(api: Api, track: Track) -> None:
    body = {"track": str(track.pk)}
    api("POST", JOBS, body, Idempotency_Key="k1")
    IdempotentRequest.objects.update(status=None)
    response = api("POST", JOBS, body, Idempotency_Key="k1")
    assert (response.status_code, code_of(response), response["Retry-After"]) == (409, "idempotency_conflict", "2")


def test_an_answer_is_given_though_its_request_was_taken_for_abandoned(owner: User) -> None:
    request = RequestFactory().post("/", headers={"Idempotency-Key": "k"})

    def slow() -> Response:
        IdempotentRequest.objects.all().delete()
        return Response({"done": True}, status=201)

    assert once(request, owner, {}, slow).status_code == 201


def test_a_refused_request_can_be_sent_again_under_its_key(api: Api, track: Track) -> None:
    assert api("POST", JOBS, {"track": str(track.pk), "model": "x"}, Idempotency_Key="k1").status_code == 422
    assert api("POST", JOBS, {"track": str(track.pk)}, Idempotency_Key="k1").status_code == 202


def test_keys_of_two_users_have_nothing_to_do_with_each_other(
    api: Api, others_api: Api, track: Track, stranger: User
) -> None:
    theirs = make_track(stranger)
    assert api("POST", JOBS, {"track": str(track.pk)}, Idempotency_Key="k").status_code == 202
    assert others_api("POST", JOBS, {"track": str(theirs.pk)}, Idempotency_Key="k").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_a_key_is_printable_and_short(api: Api, track: Track, key: str) -> None:
    assert api("POST", JOBS, {"track": str(track.pk)}, Idempotency_Key=key).status_code == 400


def test_too_many_jobs_in_a_minute_are_refused_with_the_limits_name(api: Api, track: Track, settings: Any) -> None:
    settings.JOB_CREATIONS_PER_MINUTE = 1
    api("POST", JOBS, {"track": str(track.pk)})
    response = api("POST", JOBS, {"track": str(track.pk)})
    body = response.json()
    assert (response.status_code, body["limit_name"], body["limit"]) == (429, "job_creations_per_minute", 1)
    assert response["Retry-After"] == "60"


def test_too_many_waiting_jobs_are_refused_with_the_limits_name(api: Api, track: Track, settings: Any) -> None:
    settings.QUOTA_QUEUED_JOBS = 1
    api("POST", JOBS, {"track": str(track.pk)})
    response = api("POST", JOBS, {"track": str(track.pk)})
    body = response.json()
    assert (response.status_code, code_of(response)) == (429, "quota_exceeded")
    assert (body["limit_name"], body["limit"], body["used"]) == ("quota_queued_jobs", 1, 1)


def test_more_minutes_than_a_day_has_are_refused_with_the_limits_name(api: Api, owner: User, settings: Any) -> None:
    settings.QUOTA_MINUTES_PER_DAY = 10
    long = make_track(owner, seconds=360.0)
    assert api("POST", JOBS, {"track": str(long.pk)}).status_code == 202
    response = api("POST", JOBS, {"track": str(long.pk)})
    body = response.json()
    assert (response.status_code, code_of(response)) == (429, "quota_exceeded")
    assert (body["limit_name"], body["limit"], body["used"]) == ("quota_minutes_per_day", 10, 6.0)
    Submission.objects.update(at=timezone.now() - timedelta(days=1, seconds=1))
    assert api("POST", JOBS, {"track": str(long.pk)}).status_code == 202


def test_a_failed_job_is_tried_again_without_its_minutes_being_counted_again(
    api: Api, owner: User, settings: Any
) -> None:
    settings.QUOTA_MINUTES_PER_DAY = 60
    job = api("POST", JOBS, {"track": str(make_track(owner, seconds=2400.0).pk)})["Location"]
    SeparationJob.objects.update(state=JobState.FAILED)
    assert api("POST", f"{job}retry/").status_code == 202
    assert used(api, "quota_minutes_per_day") == 40.0


@pytest.mark.parametrize(("attempts", "minutes"), [(0, 40.0), (1, 80.0)], ids=["waited", "ran"])
def test_minutes_count_again_when_a_job_is_tried_again_that_was_cancelled_while_it_ran(
    api: Api, owner: User, settings: Any, attempts: int, minutes: float
) -> None:
    settings.QUOTA_MINUTES_PER_DAY = 90
    job = api("POST", JOBS, {"track": str(make_track(owner, seconds=2400.0).pk)})["Location"]
    SeparationJob.objects.update(state=JobState.CANCELLED, attempt_number=attempts)
    assert api("POST", f"{job}retry/").status_code == 202
    assert used(api, "quota_minutes_per_day") == minutes


def test_a_job_that_was_cancelled_while_it_ran_is_not_tried_again_beyond_the_days_minutes(
    api: Api, owner: User, settings: Any
) -> None:
    settings.QUOTA_MINUTES_PER_DAY = 60
    job = api("POST", JOBS, {"track": str(make_track(owner, seconds=2400.0).pk)})["Location"]
    SeparationJob.objects.update(state=JobState.CANCELLED, attempt_number=1)
    assert api("POST", f"{job}retry/").json()["limit_name"] == "quota_minutes_per_day"
    assert SeparationJob.objects.get().state == JobState.CANCELLED


def test_trying_again_is_refused_while_too_many_jobs_wait(api: Api, track: Track, settings: Any) -> None:
    settings.QUOTA_QUEUED_JOBS = 1
    failed = make_job(track, JobState.FAILED)
    make_job(track)
    response = api("POST", f"{JOBS}{failed.pk}/retry/")
    assert (response.status_code, response.json()["limit_name"]) == (429, "quota_queued_jobs")


def test_nothing_more_is_separated_once_the_quota_of_bytes_is_used_up(api: Api, track: Track, settings: Any) -> None:
    settings.QUOTA_BYTES_PER_USER = track.size
    failed = make_job(track, JobState.FAILED)
    for response in (api("POST", JOBS, {"track": str(track.pk)}), api("POST", f"{JOBS}{failed.pk}/retry/")):
        assert (response.status_code, response.json()["limit_name"]) == (429, "quota_bytes_per_user")
    settings.QUOTA_BYTES_PER_USER = track.size + 1
    assert api("POST", JOBS, {"track": str(track.pk)}).status_code == 202


def test_deleting_a_job_or_its_track_gives_no_minutes_back(api: Api, owner: User, settings: Any) -> None:
    settings.QUOTA_MINUTES_PER_DAY = 10
    first, second, third = (make_track(owner, seconds=240.0) for _ in range(3))
    api("DELETE", api("POST", JOBS, {"track": str(first.pk)})["Location"])
    api("POST", JOBS, {"track": str(second.pk)})
    api("DELETE", f"/api/v1/tracks/{second.pk}/")
    assert (used(api, "quota_minutes_per_day"), SeparationJob.objects.count()) == (8.0, 0)
    assert api("POST", JOBS, {"track": str(third.pk)}).json()["limit_name"] == "quota_minutes_per_day"


def test_deleting_jobs_does_not_allow_more_of_them_in_a_minute(api: Api, track: Track, settings: Any) -> None:
    settings.JOB_CREATIONS_PER_MINUTE = 1
    api("DELETE", api("POST", JOBS, {"track": str(track.pk)})["Location"])
    assert code_of(api("POST", JOBS, {"track": str(track.pk)})) == "throttled"
    assert used(api, "job_creations_per_minute") == 1


def test_submissions_are_forgotten_when_no_limit_counts_them(api: Api, track: Track) -> None:
    api("POST", JOBS, {"track": str(track.pk)})
    assert ledger.forget_old() == 0
    Submission.objects.update(at=timezone.now() - timedelta(days=1, seconds=1))
    assert ledger.forget_old() == 1


def used(api: Api, limit: str) -> Any:
    return next(row["used"] for row in api("GET", "/api/v1/limits/").json()["results"] if row["name"] == limit)


def test_limits_are_visible_with_what_is_used_of_them(api: Api, track: Track, settings: Any) -> None:
    settings.QUOTA_BYTES_PER_USER = 1000
    found = {row["name"]: row for row in api("GET", "/api/v1/limits/").json()["results"]}
    assert found["quota_bytes_per_user"] == {
        "name": "quota_bytes_per_user",
        "unit": "bytes",
        "limit": 1000.0,
        "used": float(track.size),
    }


def test_models_say_whether_they_are_ready(api: Api) -> None:
    found = {row["name"]: row for row in api("GET", "/api/v1/models/").json()["results"]}
    assert found["htdemucs"]["stems"] == ["drums", "bass", "other", "vocals"]
    assert found["mdx_q"]["ready"] is False and found["mdx_q"]["reason"]
    assert sum(row["default"] for row in found.values()) == 1


def test_no_work_is_taken_while_the_process_holds_too_much(api: Api, track: Track, monkeypatch: Any) -> None:
    full = MemoryMonitor(limit=1, warning_threshold=1, check_interval=7)
    monkeypatch.setattr(process_monitor, "accepting_work", full.accepting_work)
    response = api("POST", JOBS, {"track": str(track.pk)})
    assert (response.status_code, code_of(response), response["Retry-After"]) == (503, "busy", "7")


def test_an_answer_is_kept_for_a_day(api: Api, track: Track) -> None:
    body = {"track": str(track.pk)}
    api("POST", JOBS, body, Idempotency_Key="k")
    assert forget_old() == 0
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(days=1, seconds=1))
    assert forget_old() == 1
    assert "Idempotent-Replayed" not in api("POST", JOBS, body, Idempotency_Key="k")
