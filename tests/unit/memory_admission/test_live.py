"""One picture of memory, for the page, the API, the terminal and the metrics."""

import io
import json

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from memory import live
from memory.conf import MIB, memory_settings
from memory.estimates import record_peak
from memory.incidents import record_incident, record_outcome
from memory.limiter import ConcurrentOperationLimiter
from memory.live import live_snapshot, register_queue_source
from memory.metrics import Metric, render
from memory.models import Host, IncidentKind, MemoryIncident, Reservation, ServiceProcess
from memory.processes import EndReason, Outcome
from memory.queueing import Candidate
from memory.text import bar, describe
from tests.unit.memory_admission.builders import EPOCH, probe

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.unit.memory_admission.urls")]


@pytest.fixture(autouse=True)
def no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_queue_sources", [])


@pytest.fixture
def running() -> Reservation:
    limiter = ConcurrentOperationLimiter(probe=probe())  # however little memory this machine has left
    reservation = limiter.reserve(
        kind="separate", key="song", bytes=200 * MIB, lease_seconds=60, label="Song one", limit=400 * MIB
    )
    limiter.renew(reservation.pk, observed_bytes=150 * MIB)
    return reservation


def outcome(reason: EndReason) -> Outcome:
    return Outcome(
        reason=reason,
        returncode=None,
        signal=9,
        peak_bytes=410 * MIB,
        wall_seconds=1.0,
        cpu_seconds=1.0,
        stderr_tail="",
        layers=(),
        message="It reached 410 MB.",
    )


# --- the picture


def test_it_is_json_and_has_every_part() -> None:
    picture = json.loads(json.dumps(live_snapshot()))
    parts = "at host pressure settings hosts processes operations queue queue_length incidents layers estimates"
    assert set(picture) == set(parts.split())


def test_a_running_operation_has_its_numbers_and_its_history(running: Reservation) -> None:
    operation = live_snapshot()["operations"][0]
    assert [operation[name] for name in ("label", "reserved", "observed", "peak", "limit")] == [
        "Song one",
        200 * MIB,
        150 * MIB,
        150 * MIB,
        400 * MIB,
    ]
    assert [used for _, used in operation["samples"]] == [150 * MIB]


def test_the_host_says_what_is_charged_and_what_is_free(running: Reservation) -> None:
    host = live_snapshot()["host"]
    assert (host["charged"], host["places_taken"]) == (200 * MIB, 1)
    assert 0 < host["free"] <= host["heavy_budget"] - 200 * MIB


def test_what_waits_comes_from_whoever_registered_a_queue() -> None:
    register_queue_source(lambda: [Candidate("next", 10**15, waiting_since=EPOCH, label="Song two")])
    row = live_snapshot()["queue"][0]
    assert (row["label"], row["bytes"]) == ("Song two", 10**15)
    assert "more than the" in row["reason"]


def test_a_queue_is_registered_once() -> None:
    def source() -> list[Candidate]:
        return [Candidate("next", 1, waiting_since=EPOCH)]

    register_queue_source(source)
    register_queue_source(source)
    assert len(live_snapshot()["queue"]) == 1


def test_no_secret_is_in_it(settings: Settings) -> None:
    settings.METRICS_TOKEN = "s3cr3t-token"
    assert "s3cr3t-token" not in json.dumps(live_snapshot())


def test_estimates_are_set_against_what_was_observed() -> None:
    record_peak("probe", {"codec": "mp3"}, estimated=100, observed=150)
    record_peak("probe", {"codec": "mp3"}, estimated=170, observed=120)
    row = live_snapshot()["estimates"][0]
    assert [row[name] for name in ("estimated", "observed", "observed_max", "count", "low")] == [170, 120, 150, 2, 1]


@pytest.mark.parametrize(("rss_mb", "level"), [(1536, "ok"), (1537, "over_warning"), (2049, "over_limit")])
def test_a_service_process_has_a_level(rss_mb: int, level: str, settings: Settings) -> None:
    settings.MEMORY_LIMIT_MB, settings.MEMORY_WARNING_THRESHOLD_MB = 2048, 1536
    ServiceProcess.objects.create(host=Host.objects.create(name="a"), role="web", pid=1, rss_bytes=rss_mb * MIB)
    assert live_snapshot()["processes"][0]["level"] == level


def test_the_number_of_queries_does_not_grow_with_history(django_assert_max_num_queries: object) -> None:
    for n in range(40):
        record_incident(IncidentKind.KILLED, operation_key=str(n))
    with django_assert_max_num_queries(20):  # type: ignore[operator]
        assert len(live_snapshot()["incidents"]) == live.SHOWN_INCIDENTS


# --- incidents


@pytest.mark.parametrize("reason", [EndReason.MEMORY_LIMIT, EndReason.HOST_OUT_OF_MEMORY, EndReason.KILLED])
def test_an_operation_that_ended_for_memory_is_an_incident(reason: EndReason) -> None:
    record_outcome(outcome(reason), kind="separate", key="song", limit_bytes=400 * MIB)
    incident = MemoryIncident.objects.get()
    assert (incident.kind, incident.operation_key) == (reason, "song")
    assert (incident.peak_bytes, incident.limit_bytes, incident.message) == (410 * MIB, 400 * MIB, "It reached 410 MB.")


@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.FAILED, EndReason.CANCELLED, EndReason.TIMED_OUT])
def test_other_endings_are_none(reason: EndReason) -> None:
    assert record_outcome(outcome(reason), kind="separate", key="song", limit_bytes=1) is None
    assert not MemoryIncident.objects.exists()


# --- the terminal


def test_the_terminal_view_shows_what_runs(running: Reservation) -> None:
    out = io.StringIO()
    call_command("memory", stdout=out)
    assert "150 MB  peak 150 MB, estimate 200 MB, limit 400 MB  Song one" in out.getvalue()


def test_the_terminal_view_gives_json_on_request(running: Reservation) -> None:
    out = io.StringIO()
    call_command("memory", json=True, stdout=out)
    assert json.loads(out.getvalue())["operations"][0]["label"] == "Song one"


def test_watching_goes_on_until_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    out = io.StringIO()
    call_command("memory", watch=True, interval=5, stdout=out)
    assert out.getvalue().count("places taken") == 3
    assert pauses == [5, 5, 5]


def test_a_terminal_does_not_obey_what_is_in_a_name() -> None:
    record_incident(IncidentKind.KILLED, message="\x1b[2Jgone")
    assert "?[2Jgone" in describe(live_snapshot())


@pytest.mark.parametrize(("share", "drawn"), [(0, "[....]"), (0.5, "[##..]"), (1.7, "[####]"), (-1, "[....]")])
def test_a_bar_stays_within_its_ends(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


# --- metrics


def test_metrics_have_help_type_and_value(running: Reservation) -> None:
    text = render()
    label = f'{{host="{memory_settings().host_name}",kind="separate",id="{running.pk}"}}'
    assert "# TYPE memory_operation_observed_bytes gauge" in text
    assert f"memory_operation_observed_bytes{label} {150 * MIB}\n" in text
    assert "memory_places_taken{" in text


def test_every_sample_line_is_well_formed(running: Reservation) -> None:
    record_incident(IncidentKind.KILLED)
    import re

    sample = re.compile(r'^[a-z_]+[a-z0-9_]*(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+]+$')
    lines = render().splitlines()
    assert lines
    assert [line for line in lines if not line.startswith("# ") and not sample.match(line)] == []


def test_the_length_of_the_queue_counts_more_than_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [Candidate(str(number), 1, waiting_since=EPOCH) for number in range(live.SHOWN_WAITING + 10)]
    monkeypatch.setattr(live, "_queue_sources", [lambda: waiting])
    assert len(live_snapshot()["queue"]) == live.SHOWN_WAITING
    assert f"memory_queue_length {len(waiting)}" in render().splitlines()


def test_labels_are_escaped() -> None:
    metric = Metric("m", "gauge", "h", [({"host": 'a"b\\c\nd'}, 1)])
    assert list(metric.lines())[-1] == 'm{host="a\\"b\\\\c\\nd"} 1'


def test_metrics_are_for_staff(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")


def test_metrics_are_refused_to_others(client: Client, django_user_model: type[User]) -> None:
    assert client.get("/metrics").status_code == 401
    client.force_login(django_user_model.objects.create_user("ann"))
    assert client.get("/metrics").status_code == 401


def test_metrics_open_to_the_token_and_to_no_other(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "s3cr3t"
    assert client.get("/metrics", headers={"authorization": "Bearer s3cr3t"}).status_code == 200
    assert client.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_an_unset_token_opens_nothing(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 401


# --- the admin


def test_the_live_data_is_the_picture(admin_client: Client, running: Reservation) -> None:
    answer = admin_client.get(reverse("admin:memory_live_data"))
    assert answer.json()["operations"][0]["label"] == "Song one"


def test_the_live_page_needs_its_permission(client: Client, django_user_model: type[User]) -> None:
    staff = django_user_model.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    page, data = reverse("admin:memory_live_changelist"), reverse("admin:memory_live_data")
    assert [client.get(url).status_code for url in (page, data)] == [403, 403]
    staff.user_permissions.add(Permission.objects.get(codename="view_live"))
    assert [client.get(url).status_code for url in (page, data)] == [200, 200]


def test_the_live_page_is_at_its_address() -> None:
    assert reverse("admin:memory_live_changelist") == "/admin/memory/live/"


def test_the_live_page_holds_no_inline_script_or_style(admin_client: Client) -> None:
    html = admin_client.get(reverse("admin:memory_live_changelist")).content.decode()
    main = html[html.index('id="live"') : html.index("</section>\n</div>")]
    assert "style=" not in main
    assert "<script" not in main


MODELS = ("host", "reservation", "usagesample", "memoryincident", "serviceprocess", "peakobservation")


@pytest.mark.parametrize("model", MODELS)
def test_every_list_opens(admin_client: Client, model: str, running: Reservation) -> None:
    record_incident(IncidentKind.KILLED, message="gone")
    record_peak("probe", {}, estimated=100 * MIB, observed=87 * MIB)
    ServiceProcess.objects.create(host_id=running.host_id, role="web", pid=1)
    answer = admin_client.get(reverse(f"admin:memory_{model}_changelist"))
    assert answer.status_code == 200
    assert answer.context["cl"].result_count == 1


@pytest.mark.parametrize("model", MODELS)
def test_nothing_on_record_can_be_added(admin_client: Client, model: str) -> None:
    assert admin_client.get(reverse(f"admin:memory_{model}_add")).status_code == 403


def test_nothing_on_record_can_be_changed_or_deleted(admin_client: Client, running: Reservation) -> None:
    change = reverse("admin:memory_reservation_change", args=[running.pk])
    delete = reverse("admin:memory_reservation_delete", args=[running.pk])
    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {"bytes": 1}).status_code == 403
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403


def test_the_list_of_measurements_sets_actual_against_estimated(admin_client: Client) -> None:
    record_peak("probe", {}, estimated=100 * MIB, observed=87 * MIB)
    html = admin_client.get(reverse("admin:memory_peakobservation_changelist")).content.decode()
    assert "87 %" in html


def test_a_long_history_is_not_counted_to_its_end(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.admin.COUNTED", 3)
    for _ in range(5):
        record_incident(IncidentKind.KILLED)
    answer = admin_client.get(reverse("admin:memory_memoryincident_changelist"))
    assert answer.context["cl"].result_count == 3
