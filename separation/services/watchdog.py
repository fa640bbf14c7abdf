"""Whether the worker cluster of this host still hands messages to its workers, and its end when it does not.

Owns the `WorkerCluster` rows. A worker of django-q2 that is killed while it waits for a message takes the queue's
lock with it, and the cluster then stands still for good while every process of it looks alive; so it is asked,
through its own queue, and one that does not answer is ended for the process manager to start anew.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psutil
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django_q.conf import Conf

from memory.conf import memory_settings
from memory.models import Reservation
from memory.probes.tree import started
from memory.registration import register_process
from separation import tasks
from separation.models import WorkerCluster

logger = logging.getLogger(__name__)

PING_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
GRACE_SECONDS = 10.0


def register() -> None:
    """Write down that this process is the host's cluster."""
    WorkerCluster.objects.update_or_create(
        host=memory_settings().host_name,
        defaults={**_this_process(), "started_at": Now(), "pinged_at": None, "answered_at": None},
    )


def stay_registered(is_over: Callable[[float], bool], every: float = PING_SECONDS) -> None:
    """Write it down again whenever no cluster of the host is: another one has taken the row's place, and ended.

    `is_over` waits for so many seconds at most, and says whether this process need not stay.
    """
    while not is_over(every):
        try:
            _register_if_unknown()
        except DatabaseError:
            logger.warning("the worker cluster could not be registered", exc_info=True)
        finally:
            connection.close()


def _register_if_unknown() -> None:
    """No transaction: a signal that stops the cluster waits in here for workers that have something to write."""
    host = memory_settings().host_name
    if not WorkerCluster.objects.filter(host=host).exists():
        WorkerCluster.objects.create(host=host, **_this_process())


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "create_time": started(os.getpid()) or 0.0}


def unregister() -> None:
    """This process, the host's cluster, ends in good order."""
    WorkerCluster.objects.filter(host=memory_settings().host_name, pid=os.getpid()).delete()


def answered(host: str) -> None:
    """A worker of `host` took a ping from its queue."""
    register_process("worker")
    WorkerCluster.objects.filter(host=host).update(answered_at=Now(), pinged_at=None)


def live_clusters() -> QuerySet[WorkerCluster]:
    """Clusters, of any host, that answered or were started lately."""
    recent = Now() - timedelta(seconds=PATIENCE_SECONDS)
    return WorkerCluster.objects.filter(Q(answered_at__gt=recent) | Q(answered_at=None, started_at__gt=recent))


class Watchdog:
    """Pings this host's cluster and ends it when it has answered nothing for `patience` seconds.

    A ping may be lost with the worker or the database that had it, so one that is not answered is sent again. Silence
    is measured on the monotonic clock of this process, since a machine that slept has missed no answer, and anew
    after an outage: where no question can be asked, no answer can be written down.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        patience: float = PATIENCE_SECONDS,
        every: float = PING_SECONDS,
        grace: float = GRACE_SECONDS,
        send_ping: Callable[[str], None] = tasks.send_ping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host or memory_settings().host_name
        self._patience, self._every, self._grace = patience, every, grace
        self._send_ping, self._clock = send_ping, clock
        self._asked: float | None = None
        self._asked_whom = 0.0
        self._ping_again = 0.0
        self._looked = clock()

    def check(self) -> None:
        """One look. Call it every few seconds."""
        now = self._clock()  # before the database is asked: if it hangs, so do the answers
        if now - self._looked > self._patience / 2:
            self._asked = None
        self._looked = now
        try:
            self._look(now)
        except DatabaseError:
            self._asked = None
            raise

    def _look(self, now: float) -> None:
        cluster = WorkerCluster.objects.filter(host=self.host).first()
        process = process_of(cluster)
        if cluster is None or process is None or self._all_are_busy():
            self._asked = None
        elif self._asked is None or self._asked_whom != cluster.create_time:
            self._ask(cluster, now)
        elif cluster.pinged_at is not None and now - self._asked > self._patience:
            self._end(process)
        elif now >= self._ping_again and cluster.pinged_at is None:
            self._ask(cluster, now)
        elif now >= self._ping_again:
            self._ping(now)

    def _all_are_busy(self) -> bool:
        """Whether every worker runs a job, by the leases: after a clock has jumped one more may than is meant to."""
        return Reservation.objects.held().filter(host=self.host, heavy=True).count() >= Conf.WORKERS

    def _ask(self, cluster: WorkerCluster, now: float) -> None:
        WorkerCluster.objects.filter(pk=cluster.pk).update(pinged_at=Now())
        self._asked, self._asked_whom = now, cluster.create_time
        self._ping(now)

    def _ping(self, now: float) -> None:
        self._ping_again = now + self._every
        self._send_ping(self.host)

    def _end(self, process: psutil.Process) -> None:
        """SIGTERM first, so that running jobs are requeued; all of it is killed when that does not help."""
        logger.error("the worker cluster (process %d) answers no messages; ending it", process.pid)
        self._asked = None
        _signal(process.terminate)
        try:
            process.wait(self._grace)
        except psutil.Error:
            kill_tree(process)


def process_of(cluster: WorkerCluster | None) -> psutil.Process | None:
    """The running process that a row names, if it is the same one and not another with its number."""
    if cluster is None:
        return None
    try:
        process = psutil.Process(cluster.pid)
        return process if started(process.pid) == cluster.create_time else None
    except psutil.Error:
        return None


def kill_tree(process: psutil.Process) -> None:
    """Kill a cluster with its workers; their children end by their own lifelines."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        _signal(member.kill)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.Error:
        return
