"""Pings to a host's own cluster, and the choice of messages that makes them arrive there."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from django.db import OperationalError
from django_q.conf import Conf
from django_q.models import OrmQ

from memory.limiter import ConcurrentOperationLimiter
from memory.probes.tree import started
from separation import states, tasks
from separation.broker import HostBroker, host_key
from separation.models import WorkerCluster
from separation.services import live_clusters, watchdog
from separation.services.watchdog import Watchdog, process_of

pytestmark = pytest.mark.django_db(transaction=True)


def cluster(pid: int | None = None, **values: object) -> WorkerCluster:
    pid = pid or os.getpid()
    return WorkerCluster.objects.create(host="here", pid=pid, create_time=started(pid), **values)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(dog: Watchdog, clock: Clock, *moments: float) -> None:
    for clock.now in moments:
        dog.check()


def test_a_cluster_that_has_answered_is_pinged_again_when_it_is_time() -> None:
    cluster()
    sent: list[float] = []
    clock = Clock()
    dog = Watchdog(host="here", every=20, send_ping=lambda _: sent.append(clock.now), clock=clock)
    looks(dog, clock, 0)
    watchdog.answered("here")
    looks(dog, clock, 10, 21, 22)
    assert sent == [0, 21]


def test_a_ping_that_is_not_answered_is_sent_again_since_it_may_be_lost() -> None:
    row = cluster()
    sent: list[float] = []
    clock = Clock()
    dog = Watchdog(host="here", every=20, send_ping=lambda _: sent.append(clock.now), clock=clock)
    looks(dog, clock, 0)
    row.refresh_from_db()
    asked = row.pinged_at
    looks(dog, clock, 10, 21, 22)
    row.refresh_from_db()
    assert (sent, row.pinged_at) == ([0, 21], asked)


def test_a_cluster_whose_workers_all_run_jobs_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "WORKERS", 2)
    row, sent, clock = cluster(), list[str](), Clock()
    held = [
        ConcurrentOperationLimiter(host="here").reserve(kind="separate", key=key, bytes=1, lease_seconds=60, limit=1)
        for key in ("a", "b")
    ]
    dog = Watchdog(host="here", patience=90, send_ping=sent.append, clock=clock)
    looks(dog, clock, 0, 40, 80, 91)
    assert (sent, process_of(row) is not None) == ([], True)
    ConcurrentOperationLimiter(host="here").release(held[0].pk)
    looks(dog, clock, 92)
    assert sent == ["here"]


class Outage:
    """Stands in for the queue while the database is away."""

    on = False

    def __call__(self, _: str) -> None:
        if self.on:
            raise OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def idle() -> Iterator[WorkerCluster]:
    """A cluster that is a process of its own, which may be ended."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield cluster(child.pid)
    child.kill()
    child.wait()


def test_an_outage_of_the_database_is_no_silence_of_the_cluster(idle: WorkerCluster) -> None:
    clock, outage = Clock(), Outage()
    dog = Watchdog(host="here", every=20, patience=90, send_ping=outage, clock=clock)
    looks(dog, clock, 0)
    outage.on = True
    for moment in (30, 60, 90):
        with pytest.raises(OperationalError):
            looks(dog, clock, moment)
    outage.on = False
    looks(dog, clock, 100, 140, 180)
    assert process_of(idle) is not None


def test_a_watchdog_that_was_held_up_asks_anew(idle: WorkerCluster) -> None:
    clock = Clock()
    dog = Watchdog(host="here", patience=90, send_ping=lambda _: None, clock=clock)
    looks(dog, clock, 0, 200, 240, 280)
    assert process_of(idle) is not None


def silent_for(seconds: float, **options: float) -> None:
    clock = Clock()
    dog = Watchdog(host="here", patience=90, send_ping=lambda _: None, clock=clock, **options)
    looks(dog, clock, 0, 40, 80, seconds)


def test_a_cluster_whose_row_is_gone_writes_it_anew() -> None:
    watchdog.register()
    WorkerCluster.objects.all().delete()
    over = iter([False, True])
    watchdog.stay_registered(lambda _: next(over))
    assert process_of(WorkerCluster.objects.get()) is not None
    assert live_clusters().exists()


def test_a_cluster_leaves_the_row_of_another_alone(idle: WorkerCluster, settings) -> None:  # type: ignore[no-untyped-def]
    settings.HOST_NAME, over = "here", iter([False, True])
    watchdog.stay_registered(lambda _: next(over))
    assert WorkerCluster.objects.get().pid == idle.pid


def test_a_ping_waits_in_the_queue_of_its_host() -> None:
    tasks.send_ping("here")
    assert OrmQ.objects.get().key == f"{Conf.CLUSTER_NAME}@here"


def test_a_cluster_takes_what_is_addressed_to_its_host_and_no_others(settings) -> None:  # type: ignore[no-untyped-def]
    settings.HOST_NAME = "here"
    tasks.send_wake()
    tasks.send_ping("elsewhere")
    tasks.send_ping("here")
    broker = HostBroker(list_key=Conf.CLUSTER_NAME)
    keys = dict(OrmQ.objects.values_list("id", "key"))
    taken = [keys[message[0]] for _ in range(2) for message in broker.dequeue() or []]
    assert taken == [host_key("here"), Conf.CLUSTER_NAME]
    assert broker.dequeue() is None


def test_a_message_is_taken_by_one_broker_only() -> None:
    tasks.send_wake()
    assert len(HostBroker(list_key=Conf.CLUSTER_NAME).dequeue() or []) == 1
    assert HostBroker(list_key=Conf.CLUSTER_NAME).dequeue() is None


def test_a_process_that_only_has_the_number_of_the_cluster_is_not_it() -> None:
    row = cluster()
    assert process_of(row) is not None
    row.create_time -= 100
    assert process_of(row) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere start times are of the wall clock")
def test_the_cluster_is_still_recognised_when_the_machines_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog.register()
    booted = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600)
    assert process_of(WorkerCluster.objects.get()) is not None


def test_a_silent_cluster_is_ended(idle: WorkerCluster) -> None:
    silent_for(89)
    assert process_of(idle) is not None
    silent_for(91)
    assert process_of(idle) is None


def test_a_ping_from_before_the_machine_slept_ends_nothing() -> None:
    row = cluster(pinged_at=states.from_now(-5000))
    Watchdog(host="here", patience=90, send_ping=lambda _: None).check()
    assert process_of(row) is not None


def test_a_silent_cluster_that_ignores_the_request_is_killed() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    cluster(child.pid)
    silent_for(91, grace=0.3)
    assert child.wait(timeout=30) == -9
    child.stdout.close()


@pytest.mark.parametrize(
    ("values", "alive"),
    [
        ({}, True),
        ({"started_at": states.from_now(-500)}, False),
        ({"started_at": states.from_now(-500), "answered_at": states.from_now(-5)}, True),
        ({"answered_at": states.from_now(-500)}, False),
    ],
)
def test_a_cluster_counts_as_alive_when_it_answered_or_started_lately(values: dict[str, object], alive: bool) -> None:
    cluster(**values)
    assert live_clusters().exists() is alive
