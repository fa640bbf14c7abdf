"""django-q2's database broker, with one more queue for each host.

Owns nothing but the choice of messages: a cluster takes those of its own queue, and before them those addressed
to its host (`<queue>@<host>`), so that the reaper of a host can ask that very cluster for a sign of life although
clusters of several hosts share one queue. Set as Q_CLUSTER["broker_class"].
"""

from __future__ import annotations

from time import sleep

from django.conf import settings
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

LONGEST_KEY = 100


def host_key(host: str, queue: str | None = None) -> str:
    """The queue of messages for one host."""
    return f"{queue or Conf.CLUSTER_NAME}@{host}"[:LONGEST_KEY]


class HostBroker(ORM):
    """Takes messages for this host, then shared ones, oldest first, each by compare-and-set on its lock."""

    def dequeue(self) -> list[tuple[int, str]] | None:
        taken = [message for message in self._waiting() if self._take(message)]
        if taken:
            return [(message.pk, message.payload) for message in taken]
        sleep(Conf.POLL)
        return None

    def _waiting(self) -> list[OrmQ]:
        now = timezone.now()
        for key in (host_key(settings.HOST_NAME, self.list_key), self.list_key):
            found = list(self.get_connection().filter(key=key, lock__lt=now).order_by("id")[: Conf.BULK])
            if found:
                return found
        return []

    def _take(self, message: OrmQ) -> bool:
        free = self.get_connection().filter(pk=message.pk, lock=message.lock)
        return bool(free.update(lock=self.timeout(message)))
