"""`manage.py work`: the worker cluster of this host, under a process manager.

Owns the cluster's start and its end by signal; what workers do is `separation.tasks`. Differs from `qcluster` in
that SIGTERM ends running engine children and puts their jobs back in the queue, and that no process of the cluster
outlives it.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections
from django_q.cluster import Cluster

from memory.walls import step_down
from separation.parents import end_with, end_with_manager
from separation.services import stopping, watchdog


class Command(BaseCommand):
    help = "Runs this host's worker cluster until it is told to stop."

    def handle(self, *_: Any, **__: Any) -> None:
        end_with_manager()
        step_down()
        watchdog.register()
        connections.close_all()  # what is forked must not share a connection
        os.register_at_fork(before=partial(_heed_sigterm, os.getpid()), after_in_child=_die_with_parent)
        cluster = Cluster()
        stop_on(cluster, signal.SIGTERM, signal.SIGINT)
        cluster.start()
        watchdog.stay_registered(partial(_has_ended, cluster))
        watchdog.unregister()


def _has_ended(cluster: Cluster, within: float) -> bool:
    """Waits for `within` seconds at most."""
    cluster.sentinel.join(within)
    return not cluster.sentinel.is_alive()


def stop_on(cluster: Cluster, *signals: int) -> None:
    """At these signals tell the workers to let go of their jobs, then, once, stop the cluster as django-q2 does."""
    told: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.request()
        told.append(signum)
        if len(told) == 1:
            cluster.sig_handler(signum, frame)

    for number in signals:
        signal.signal(number, stop)


def _heed_sigterm(main: int) -> None:
    """Before a process of the cluster forks another: SIGTERM asks each of them for what it asks of `main`.

    django-q2 leaves it at its default in all but the main process. A process manager that signals every process of a
    service would end the workers in the middle of their jobs, and the main one would wait for them for ever.
    """

    def stop(*_: object) -> None:
        if not stopping.requested():
            stopping.request()
            os.kill(main, signal.SIGTERM)

    if os.getpid() != main and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def _die_with_parent() -> None:
    """In each forked process: be killed when the process that forked it dies."""
    end_with(os.getppid(), signal.SIGKILL)
