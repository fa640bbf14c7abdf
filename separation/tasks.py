"""What django-q2 carries: wake-ups and pings, nothing else. The job rows are the truth.

Owns the messages. A lost, late or duplicate one is harmless, so the broker is set up (Q_CLUSTER in the
settings) never to deliver one again: `ack_failures` on, `max_attempts` 1, `retry` far beyond `timeout`; and to
take no more than it can start at once: `bulk` 1, `queue_limit` 1. Recovery is the reaper's.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from separation.broker import host_key

WAKE = "separation.tasks.wake"
PING = "separation.tasks.ping"


def wake() -> int:
    """Run waiting jobs until none can start, or it is another worker's turn; returns how many were run."""
    from separation.services import run_ready_jobs

    return run_ready_jobs()


def ping(host: str) -> None:
    """Answer the reaper of `host`: this cluster still hands messages to its workers."""
    from separation.services.watchdog import answered

    answered(host)


def send_wake() -> None:
    """Tell some worker that there may be work: with the transaction when messages are kept in this database."""
    if settings.Q_CLUSTER.get("orm"):
        _send_wake()
    else:
        transaction.on_commit(_send_wake)


def _send_wake() -> None:
    async_task(WAKE, task_name="wake", save=False)


def wake_is_pending() -> bool:
    """Whether a message waits in the shared queue that no cluster has taken yet (known for the database broker)."""
    if not settings.Q_CLUSTER.get("orm"):
        return False
    return OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__lte=timezone.now()).exists()


def send_ping(host: str) -> None:
    """Ask the cluster of one host for a sign of life."""
    queue = host_key(host) if settings.Q_CLUSTER.get("broker_class") else None
    async_task(PING, host, task_name="ping", save=False, cluster=queue)


def forget_taken(*, older_than_seconds: float = 3600.0) -> int:
    """Delete messages taken so long ago that whoever took them is gone or has long acted on them.

    django-q2 gives a message back after `retry` seconds; ours are only wake-ups and pings, which the reaper
    repeats, so the rows of clusters that were killed need not be kept for that.
    """
    taken = OrmQ.objects.filter(lock__gt=timezone.now())
    limit = timezone.now() + timedelta(seconds=Conf.RETRY - older_than_seconds)
    stale = [message.pk for message in taken.filter(lock__lt=limit)[:500] if message.func() in (WAKE, PING)]
    return OrmQ.objects.filter(pk__in=stale).delete()[0]
