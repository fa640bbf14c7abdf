"""Webhooks: who is told what, tries and pauses, and the end of trying."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from separation import services as jobs
from separation import states
from separation.api.problems import meaning
from separation.errors import ServiceError
from separation.models import JobState, SeparationJob, Track
from separation.webhooks import services
from separation.webhooks.models import Delivery, DeliveryState, Endpoint
from separation.webhooks.sending import Undeliverable
from tests.integration.api.conftest import Api, code_of, make_job, make_track
from tests.ports import free_port

HOOKS = "/api/v1/webhooks/"
URL = "https://hooks.example/in"


class Post:
    """Stands for the network: answers with `status`, keeps what was sent."""

    def __init__(self, status: int = 204) -> None:
        self.status, self.sent = status, []  # type: ignore[var-annotated]

    def __call__(self, url: str, body: bytes, headers: dict[str, str], **_: Any) -> int:
        self.sent.append((url, body, headers))
        if self.status == 0:
            raise Undeliverable("the host is not on the public internet")
        return self.status


@pytest.fixture
def endpoint(owner: User) -> Endpoint:
    return services.add_endpoint(owner, URL)


@pytest.fixture
def delivery(endpoint: Endpoint, track: Track) -> Delivery:
    jobs.cancel(make_job(track))
    return Delivery.objects.get()


def test_a_job_that_ends_is_told_to_its_owners_endpoints_only(owner: User, stranger: User, track: Track) -> None:
    services.add_endpoint(owner, URL)
    services.add_endpoint(stranger, URL)
    job = make_job(track)
    jobs.cancel(job)
    delivery = Delivery.objects.get()
    assert (delivery.endpoint.owner, delivery.event) == (owner, "job.cancelled")
    assert delivery.payload["data"]["job"] == str(job.pk)


def test_staff_who_may_only_look_cannot_have_a_message_sent_again(delivery: Delivery, client: Client) -> None:
    Delivery.objects.update(state=DeliveryState.FAILED)
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client.force_login(viewer)
    client.post("/admin/webhooks/delivery/", {"action": "send_again", "_selected_action": str(delivery.pk)})
    assert Delivery.objects.get().state == DeliveryState.FAILED


def test_a_job_that_goes_on_is_not_told(endpoint: Endpoint, track: Track) -> None:
    jobs.retry(make_job(track, JobState.FAILED))
    assert Delivery.objects.count() == 0


def test_a_webhook_of_one_job_is_told_of_that_job_only(api: Api, track: Track, owner: User) -> None:
    body = {"track": str(track.pk), "webhook_url": URL}
    wanted = api("POST", "/api/v1/jobs/", body).json()["id"]
    jobs.cancel(make_job(make_track(owner)))
    assert Delivery.objects.count() == 0
    api("POST", f"/api/v1/jobs/{wanted}/cancel/")
    delivery = Delivery.objects.get()
    assert delivery.payload["data"]["job"] == wanted
    assert delivery.endpoint.secret == api("GET", HOOKS).json()["job_secret"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_ends_as_soon_as_it_is_there_is_told_to_its_own_webhook(api: Api, track: Track) -> None:
    def end(job_id: UUID, state: str, **_: Any) -> None:
        if state == JobState.QUEUED:
            transaction.on_commit(lambda: states.cancel_waiting(job_id, attempt_number=0))

    states.job_changed.connect(end)
    try:
        api("POST", "/api/v1/jobs/", {"track": str(track.pk), "webhook_url": URL})
    finally:
        states.job_changed.disconnect(end)
    assert Delivery.objects.get().event == "job.cancelled"


def test_a_message_is_delivered_once_with_its_signature(delivery: Delivery) -> None:
    post = Post()
    assert services.deliver_due(post=post) == 1
    assert services.deliver_due(post=post) == 0
    (url, body, headers), *_ = post.sent
    assert (url, headers["webhook-id"]) == (URL, f"msg_{delivery.pk.hex}")
    assert headers["webhook-signature"].startswith("v1,") and b"job.cancelled" in body
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.attempts) == (DeliveryState.DELIVERED, 204, 1)


@pytest.mark.parametrize("status", [500, 302, 404, 0])
def test_a_message_that_does_not_arrive_is_tried_again_later(delivery: Delivery, status: int) -> None:
    before = timezone.now()
    services.deliver_due(post=Post(status))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 1)
    assert delivery.next_attempt_at >= before + timedelta(seconds=services.PAUSES[0])
    assert delivery.error


def test_trying_ends(delivery: Delivery, settings: Any) -> None:
    settings.WEBHOOK_MAX_ATTEMPTS = 2
    for _ in range(3):
        Delivery.objects.update(next_attempt_at=timezone.now())
        services.deliver_due(post=Post(500))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 2)


def test_a_receiver_that_is_gone_is_not_asked_again(delivery: Delivery) -> None:
    services.deliver_due(post=Post(410))
    assert Endpoint.objects.get().active is False
    assert Delivery.objects.get().state == DeliveryState.FAILED


def test_a_receiver_that_is_gone_gets_nothing_more_of_the_same_turn(delivery: Delivery) -> None:
    now = timezone.now()
    Delivery.objects.create(endpoint=delivery.endpoint, event="e", payload=delivery.payload, next_attempt_at=now)
    post = Post(410)
    services.deliver_due(post=post)
    assert len(post.sent) == 1


def test_what_failed_late_does_not_take_back_that_another_try_arrived(delivery: Delivery) -> None:
    def slow(*_: Any, **__: Any) -> int:
        Delivery.objects.update(next_attempt_at=timezone.now())
        services.deliver_due(post=Post())
        return 500

    services.deliver_due(post=slow)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error) == (DeliveryState.DELIVERED, "")


def test_what_failed_late_leaves_a_try_that_others_have_begun(delivery: Delivery) -> None:
    def slow(*_: Any, **__: Any) -> int:
        Delivery.objects.update(attempts=2, next_attempt_at=lease)
        return 500

    lease = timezone.now() + timedelta(seconds=60)
    services.deliver_due(post=slow)
    delivery.refresh_from_db()
    assert (delivery.next_attempt_at, delivery.error) == (lease, "")


def test_what_waits_for_an_endpoint_waits_while_it_is_switched_off(delivery: Delivery) -> None:
    Endpoint.objects.update(active=False)
    assert (services.deliver_due(post=Post()), services.is_due()) == (0, False)
    Endpoint.objects.update(active=True)
    assert services.deliver_due(post=Post()) == 1


def test_two_that_deliver_at_once_send_a_message_once(delivery: Delivery) -> None:
    post = Post()

    def greedy(*args: Any, **kwargs: Any) -> int:
        assert services.deliver_due(post=post) == 0
        return post(*args, **kwargs)

    assert services.deliver_due(post=greedy) == 1
    assert len(post.sent) == 1


def test_one_owners_turn_leaves_the_others_messages(delivery: Delivery, stranger: User) -> None:
    assert services.waiting_owners() == [delivery.endpoint.owner.pk]
    assert services.deliver_due(owner=stranger.pk, post=Post()) == 0
    assert services.deliver_due(owner=delivery.endpoint.owner.pk, post=Post()) == 1
    assert services.waiting_owners() == []


@pytest.mark.django_db(transaction=True)
def test_all_that_is_due_has_been_tried_when_the_threads_end(delivery: Delivery, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    Endpoint.objects.update(url=f"http://127.0.0.1:{free_port()}/")
    services.deliver_all()
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.state, services.is_due()) == (1, DeliveryState.WAITING, False)


def test_a_turn_ends_once_it_took_as_long_as_one_message_may(delivery: Delivery, settings: Any) -> None:
    now = timezone.now()
    Delivery.objects.create(endpoint=delivery.endpoint, event="e", payload=delivery.payload, next_attempt_at=now)
    clock = itertools.count(0, settings.WEBHOOK_TIMEOUT_SECONDS)
    assert services.deliver_due(post=Post(), clock=lambda: float(next(clock))) == 1
    assert Delivery.objects.filter(state=DeliveryState.WAITING).count() == 1


def test_the_owner_makes_lists_and_deletes_webhooks(api: Api, others_api: Api) -> None:
    made = api("POST", HOOKS, {"url": URL})
    assert (made.status_code, made.json()["secret"][:6]) == (201, "whsec_")
    assert [row["url"] for row in api("GET", HOOKS).json()["results"]] == [URL]
    assert others_api("GET", HOOKS).json()["results"] == []
    path = f"{HOOKS}{made.json()['id']}/"
    assert others_api("DELETE", path).status_code == 404
    assert api("DELETE", path).status_code == 204
    assert Endpoint.objects.count() == 0


def test_the_number_of_webhooks_is_counted_once_it_is_ones_turn(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(services.MAX_PER_USER - 1):
        services.add_endpoint(owner, f"{URL}/{number}")
    monkeypatch.setattr(services, "take_turn", lambda user: Endpoint.objects.create(owner=user, url=URL))
    with pytest.raises(ServiceError, match="20 webhooks"):
        services.add_endpoint(owner, URL)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "ftp://x.example/", "nonsense", 5]
)
def test_an_address_that_can_never_be_told_is_refused(api: Api, url: Any) -> None:
    response = api("POST", HOOKS, {"url": url})
    assert (response.status_code, code_of(response), response.json()["field"]) == (422, "webhook_target", "url")


def test_a_refused_address_is_answered_with_what_addresses_there_can_be(api: Api, track: Track) -> None:
    response = api("POST", "/api/v1/jobs/", {"track": str(track.pk), "webhook_url": 17})
    assert response.json()["detail"] == meaning("webhook_target")


def test_deleting_a_job_deletes_what_waits_to_be_said_of_it(api: Api, track: Track) -> None:
    body = {"track": str(track.pk), "webhook_url": URL}
    job = api("POST", "/api/v1/jobs/", body).json()["id"]
    jobs.cancel(SeparationJob.objects.get(pk=job))
    assert Delivery.objects.filter(endpoint__job=job).count() == 1
    SeparationJob.objects.filter(pk=job).delete()
    assert (Endpoint.objects.count(), Delivery.objects.count()) == (0, 0)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
@pytest.mark.parametrize("what", ["jobs", "tracks"])
def test_a_job_that_is_deleted_before_its_end_is_told_as_cancelled(
    api: Api, endpoint: Endpoint, track: Track, state: str, what: str
) -> None:
    job = make_job(track, state)
    services.add_endpoint(track.owner, URL, job=job)
    api("DELETE", f"/api/v1/{what}/{job.pk if what == 'jobs' else track.pk}/")
    delivery = Delivery.objects.get()
    assert (delivery.endpoint, delivery.event) == (endpoint, "job.cancelled")
    assert (delivery.payload["data"]["job"], delivery.payload["data"]["reason"]) == (str(job.pk), "cancelled")


def test_a_job_that_is_deleted_after_its_end_is_not_told_again(api: Api, endpoint: Endpoint, track: Track) -> None:
    make_job(track, JobState.FAILED)
    api("DELETE", f"/api/v1/tracks/{track.pk}/")
    assert Delivery.objects.count() == 0


def test_the_log_forgets_after_a_month(delivery: Delivery) -> None:
    Delivery.objects.update(state=DeliveryState.DELIVERED, created_at=timezone.now() - timedelta(days=31))
    assert services.forget_old() == 1


@pytest.mark.parametrize(("active", "forgotten"), [(True, 0), (False, 1)])
def test_a_message_that_waits_is_forgotten_only_if_nobody_is_to_get_it(
    delivery: Delivery, active: bool, forgotten: int
) -> None:
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=31))
    Endpoint.objects.update(active=active)
    assert services.forget_old() == forgotten


def test_a_name_of_the_own_network_is_taken_where_it_may_be_told(api: Api, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    assert api("POST", HOOKS, {"url": "http://n8n:5678/hook"}).status_code == 201
