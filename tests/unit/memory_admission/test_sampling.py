"""History: taken when due, of what lives, thinned out as it ages."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from memory import sampling
from memory.conf import MIB, NUMBERS, memory_settings
from memory.models import Host, IncidentKind, MemoryIncident, PeakObservation, ServiceProcess, UsageSample
from memory.probes.tree import started
from memory.registration import Registration, keep_registered
from memory.rooms import WORKER_ROLE, has_workers
from memory.sampling import Sampler, sample_host_and_processes, thin_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def host() -> Host:
    return Host.objects.create(name=memory_settings().host_name)


@pytest.fixture
def child(host: Host) -> Iterator[ServiceProcess]:
    """A registered process that is alive, and is not this one."""
    process = subprocess.Popen(
        [sys.executable, "-c", "held = bytearray(30 << 20); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()  # type: ignore[union-attr]
    yield ServiceProcess.objects.create(
        host=host, role="worker", pid=process.pid, kernel_start=started(process.pid) or 0.0
    )
    process.kill()
    process.communicate()


def sample(host: Host, minutes_ago: float, used: int, **fields: object) -> UsageSample:
    at = timezone.now().replace(second=30, microsecond=0) - timedelta(minutes=minutes_ago)
    values: dict[str, object] = {"subject": "host", "at": at, "bytes": used, **fields}
    return UsageSample.objects.create(host=host, **values)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_sample_of_the_host_says_what_is_used_and_available() -> None:
    sample_host_and_processes()
    taken = UsageSample.objects.get(subject="host")
    assert taken.bytes > 0
    assert taken.available_bytes


def test_sampling_brings_the_hosts_row_up_to_date() -> None:
    sample_host_and_processes()
    host = Host.objects.get(name=memory_settings().host_name)
    assert 0 < host.heavy_bytes < host.budget_bytes <= host.effective_bytes


def test_an_idle_process_is_looked_at_without_its_help(child: ServiceProcess) -> None:
    sample_host_and_processes()
    child.refresh_from_db()
    assert child.rss_bytes > MIB
    assert UsageSample.objects.filter(subject="process", subject_key=f"worker:{child.pid}").exists()


def test_a_process_that_ended_is_forgotten(host: Host) -> None:
    ServiceProcess.objects.create(host=host, role="worker", pid=2**22 + 1, kernel_start=1.0)
    sample_host_and_processes()
    assert not ServiceProcess.objects.exists()


def test_a_host_whose_worker_ended_is_expected_to_have_one_again(host: Host) -> None:
    """As in a restart: what only that host can take is neither refused meanwhile nor tried elsewhere."""
    Registration().report(WORKER_ROLE)
    ServiceProcess.objects.update(kernel_start=1.0)
    sample_host_and_processes()
    assert not ServiceProcess.objects.exists()
    assert has_workers(host.name)


def test_another_process_with_the_same_number_is_not_taken_for_it(child: ServiceProcess) -> None:
    ServiceProcess.objects.filter(pk=child.pk).update(kernel_start=child.kernel_start - 100)
    sample_host_and_processes()
    assert not ServiceProcess.objects.filter(pk=child.pk).exists()


def test_going_over_the_warning_threshold_is_one_incident(child: ServiceProcess, settings: Settings) -> None:
    settings.MEMORY_WARNING_THRESHOLD_MB = 20
    for _ in range(2):
        sample_host_and_processes()
    incident = MemoryIncident.objects.get()
    assert (incident.kind, incident.operation_key) == (IncidentKind.SERVICE_WARNING, str(child.pid))


def test_the_sampler_waits_for_the_check_interval(settings: Settings) -> None:
    settings.MEMORY_CHECK_INTERVAL = 10
    clock = Clock()
    sampler = Sampler(clock=clock)
    taken = [sampler.tick()]
    for step in (9.0, 1.0):
        clock.now += step
        taken.append(sampler.tick())
    assert taken == [True, False, True]


def test_old_samples_keep_the_worst_of_each_minute(host: Host) -> None:
    sample(host, 90, 5, available_bytes=3, peak_bytes=5)
    sample(host, 90, 9, available_bytes=1, peak_bytes=9)
    thin_history()
    kept = UsageSample.objects.get()
    assert (kept.bytes, kept.available_bytes, kept.peak_bytes, kept.resolution) == (9, 1, 9, 60)


def test_recent_samples_are_kept_as_measured(host: Host) -> None:
    sample(host, 30, 5)
    sample(host, 30, 9)
    thin_history()
    assert UsageSample.objects.filter(resolution=0).count() == 2


def test_subjects_are_not_mixed(host: Host) -> None:
    sample(host, 90, 5)
    sample(host, 90, 9, subject="operation", subject_key="1")
    sample(host, 90, 7, subject="operation", subject_key="2")
    thin_history()
    assert sorted(UsageSample.objects.values_list("bytes", flat=True)) == [5, 7, 9]


def test_after_a_day_a_quarter_of_an_hour_becomes_one_sample(host: Host) -> None:
    start = timezone.now().replace(minute=0, second=1, microsecond=0) - timedelta(hours=30)
    for minute in range(30):
        UsageSample.objects.create(host=host, subject="host", at=start + timedelta(minutes=minute), bytes=minute)
    thin_history()
    assert list(UsageSample.objects.order_by("at").values_list("bytes", "resolution")) == [(14, 900), (29, 900)]


def test_thinning_again_changes_nothing(host: Host) -> None:
    for minutes in (90, 91, 2000, 2001):
        sample(host, minutes, minutes)
    thin_history()
    once = list(UsageSample.objects.order_by("at").values_list("at", "bytes", "resolution"))
    thin_history()
    assert list(UsageSample.objects.order_by("at").values_list("at", "bytes", "resolution")) == once


def test_history_older_than_the_setting_is_deleted(host: Host, settings: Settings) -> None:
    settings.MEMORY_HISTORY_DAYS = 2
    sample(host, 3 * 24 * 60, 1)
    MemoryIncident.objects.create(host=host, kind="killed", at=timezone.now() - timedelta(days=3))
    recent = MemoryIncident.objects.create(host=host, kind="killed")
    thin_history()
    assert not UsageSample.objects.exists()
    assert MemoryIncident.objects.get() == recent


@pytest.mark.parametrize("days", [0, NUMBERS["MEMORY_HISTORY_DAYS"].maximum])
def test_all_history_is_kept_for_no_days_and_for_the_most(host: Host, settings: Settings, days: float) -> None:
    settings.MEMORY_HISTORY_DAYS = int(days)
    MemoryIncident.objects.create(host=host, kind="killed", at=timezone.now() - timedelta(days=10_000))
    thin_history()
    assert MemoryIncident.objects.exists()


def test_the_latest_peaks_of_each_kind_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "KEPT_PEAKS", 2)
    for observed in (1, 2, 3):
        PeakObservation.objects.create(kind="a", feature_key="", estimated_bytes=1, observed_bytes=observed)
    PeakObservation.objects.create(kind="b", feature_key="", estimated_bytes=1, observed_bytes=9)
    thin_history()
    assert sorted(PeakObservation.objects.values_list("observed_bytes", flat=True)) == [2, 3, 9]


def test_a_process_registers_itself_once_per_interval(settings: Settings) -> None:
    clock = Clock()
    registration = Registration(clock=clock)
    reported = [registration.report("web"), registration.report("web")]
    clock.now += settings.MEMORY_CHECK_INTERVAL
    reported.append(registration.report("web"))
    assert reported == [True, False, True]
    row = ServiceProcess.objects.get()
    assert (row.role, row.pid, row.accepting) == ("web", os.getpid(), True)
    assert row.rss_bytes > MIB


def test_a_worker_takes_its_hosts_row_before_its_own_as_the_sampler_does(host: Host) -> None:
    registration = Registration()
    ServiceProcess.objects.create(host=host, role=WORKER_ROLE, pid=os.getpid())
    with CaptureQueriesContext(connection) as asked:
        assert registration.report(WORKER_ROLE)
    touched = re.findall(r'UPDATE "(memory_\w+)"', " ".join(query["sql"] for query in asked.captured_queries))
    assert touched[:2] == ["memory_host", "memory_serviceprocess"]


def test_a_registered_process_survives_the_next_sample() -> None:
    Registration().report("web")
    sample_host_and_processes()
    assert ServiceProcess.objects.filter(pid=os.getpid()).exists()


def test_a_process_over_its_limit_is_on_record_as_taking_no_work(settings: Settings) -> None:
    settings.MEMORY_LIMIT_MB, settings.MEMORY_WARNING_THRESHOLD_MB = 32, 16
    from memory.monitor import MemoryMonitor

    Registration(MemoryMonitor()).report("web")
    row = ServiceProcess.objects.get()
    assert not row.accepting
    assert "its limit is 32 MB" in row.reason
    assert MemoryIncident.objects.get().kind == IncidentKind.SERVICE_LIMIT


def test_a_database_that_fails_does_not_fail_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(Registration, "_write", fail)
    assert Registration().report("web") is False


def test_a_web_process_reports_from_a_thread_until_told_to_stop(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.MEMORY_CHECK_INTERVAL = 0.1
    reported: list[str] = []
    stop = threading.Event()

    def report(role: str) -> None:
        reported.append(role)
        if len(reported) == 3:
            stop.set()

    monkeypatch.setattr("memory.registration.register_process", report)
    keep_registered("web", stop).join(timeout=30)
    assert reported == ["web"] * 3
