"""Whether the worker cluster of this host still hands messages to its workers, and its end when it does not.

Owns the `WorkerCluster` rows. A worker of django-q2 that is killed while it waits for a message takes the queue's
lock with it, and the cluster then stands still for good while every process of it looks alive; so it is asked,
through its own queue, and one that does not answer is ended for the process manager to start anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import timedelta

import psutil
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from memory.conf import memory_settings
from memory.registration import register_process
from separation import tasks
from separation.models import WorkerCluster

logger = logging.getLogger(__name__)

PING_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
GRACE_SECONDS = 10.0


def register() -> None:
    """Write down that this process is the host's cluster."""
    process = psutil.Process(os.getpid())
    WorkerCluster.objects.update_or_create(
        host=memory_settings().host_name,
        defaults={
            "pid": process.pid,
            "create_time": process.create_time(),
            "started_at": Now(),
            "pinged_at": None,
            "answered_at": None,
        },
    )


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
    """Pings this host's cluster and ends it when it has not answered for `patience` seconds."""

    def __init__(
        self,
        *,
        host: str | None = None,
        patience: float = PATIENCE_SECONDS,
        every: float = PING_SECONDS,
        send_ping: Callable[[str], None] = tasks.send_ping,
    ) -> None:
        self.host = host or memory_settings().host_name
        self._patience, self._every = patience, every
        self._send_ping = send_ping
        self._ending: WorkerCluster | None = None

    def check(self) -> None:
        """One look. Call it every few seconds."""
        cluster = WorkerCluster.objects.filter(host=self.host).first()
        process = process_of(cluster)
        if cluster is None or process is None:
            self._ending = None
            return
        if self._silent().exists():
            self._end(cluster, process)
        elif self._due().update(pinged_at=Now()):
            self._send_ping(self.host)

    def _mine(self) -> QuerySet[WorkerCluster]:
        return WorkerCluster.objects.filter(host=self.host)

    def _due(self) -> QuerySet[WorkerCluster]:
        long_ago = Now() - timedelta(seconds=self._every)
        return self._mine().filter(Q(answered_at=None) | Q(answered_at__lte=long_ago), pinged_at=None)

    def _silent(self) -> QuerySet[WorkerCluster]:
        return self._mine().filter(pinged_at__lte=Now() - timedelta(seconds=self._patience))

    def _end(self, cluster: WorkerCluster, process: psutil.Process) -> None:
        """SIGTERM first, so that running jobs are requeued; all of it is killed when that did not help."""
        if self._ending is None or self._ending.create_time != cluster.create_time:
            logger.error("the worker cluster (process %d) answers no messages; ending it", process.pid)
            self._ending = cluster
            _signal(process.terminate)
            _wait(process)
        if process.is_running():
            kill_tree(process)


def process_of(cluster: WorkerCluster | None) -> psutil.Process | None:
    """The running process that a row names, if it is the same one and not another with its number."""
    if cluster is None:
        return None
    try:
        process = psutil.Process(cluster.pid)
        same = abs(process.create_time() - cluster.create_time) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
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


def _wait(process: psutil.Process) -> None:
    try:
        process.wait(GRACE_SECONDS)
    except psutil.Error:
        return


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.Error:
        return
