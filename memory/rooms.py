"""What a host can give, and what runs on it: from tables and settings to a `queueing.Room`. Changes nothing."""

from datetime import timedelta

from django.db.models import QuerySet, Sum
from django.db.models.functions import Now

from memory.conf import MIB, MemorySettings
from memory.models import Host, Reservation, ServiceProcess
from memory.pressure import floor_bytes
from memory.queueing import Charge, Room

BUDGET_SHARE = 0.85
"""Of effective memory, when MEMORY_BUDGET_MB is 0; the rest is the operating system's."""
SERVICE_MIN_BYTES = 384 * MIB
"""Kept for the service's own processes even while they have not reported more."""
PROCESS_ALIVE = timedelta(minutes=2)
HOST_ALIVE = timedelta(minutes=5)
WORKER_ROLE = "worker"


def budget_of(host: str, effective: int, settings: MemorySettings) -> int:
    """Bytes for all operations of `host`, of whose memory `effective` can be used: as set, or worked out."""
    if settings.memory_budget is not None:
        return min(settings.memory_budget, effective)
    return max(0, int(effective * BUDGET_SHARE) - _service_bytes(host))


def _service_bytes(host: str) -> int:
    resident = live_processes().filter(host_id=host).aggregate(total=Sum("rss_bytes"))["total"]
    return max(SERVICE_MIN_BYTES, resident or 0)


def room_of(host: str, *, budget: int, effective: int, available: int, slots: int) -> Room:
    """The room on `host` now. Owners count as busy with what they run on other hosts, too."""
    held = list(Reservation.objects.held().order_by("id"))
    return Room(
        budget,
        slots,
        running=tuple(_charge(one) for one in held if one.host_id == host),
        available=max(0, available - floor_bytes(effective)),
        busy_elsewhere=tuple(one.owner for one in held if one.heavy and one.host_id != host),
    )


def _charge(held: Reservation) -> Charge:
    return Charge(held.key, held.owner, held.bytes, held.observed_bytes, held.heavy)


def live_processes() -> QuerySet[ServiceProcess]:
    return ServiceProcess.objects.filter(last_seen__gt=Now() - PROCESS_ALIVE)


def live_hosts() -> QuerySet[Host]:
    return Host.objects.filter(last_seen__gt=Now() - HOST_ALIVE)


def worker_hosts() -> QuerySet[Host]:
    """Hosts that run what waits. One whose workers ended or fell silent is expected to have some again for as long as
    a host counts as live: what only it can take is neither refused nor tried elsewhere while it starts anew."""
    return Host.objects.filter(workers_seen__gt=Now() - HOST_ALIVE)


def has_workers(host: str) -> bool:
    return worker_hosts().filter(name=host).exists()


def largest_elsewhere(own: str) -> Host | None:
    """Of the other hosts with workers the one that can take most."""
    return worker_hosts().exclude(name=own).order_by("-heavy_bytes", "name").first()


def largest_share(own: str, share: int) -> int:
    """Bytes of the largest part that heavy operations may have of a host with workers; while none has any, of a live
    one. `share` is that of `own` now; of other hosts it is known from when they last said so.
    """
    shares = dict(worker_hosts().values_list("name", "heavy_bytes"))
    if own in shares:
        shares[own] = share
    if not any(shares.values()):  # none has workers, or those that have did not say yet
        shares = {**dict(live_hosts().values_list("name", "heavy_bytes")), own: share}
    return max(shares.values())
