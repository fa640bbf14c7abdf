"""Writing one usage sample. `sampling.py` says when all of a host is sampled, and thins out what is old."""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from memory.models import Reservation, SampleSubject, UsageSample
from memory.retries import atomically


def record_operation(reservation_id: int, *, every: float) -> bool:
    """Keep what an operation was last seen to use, unless that was done less than `every` seconds ago."""
    due = Q(sampled_at=None) | Q(sampled_at__lte=Now() - timedelta(seconds=every))

    def sample() -> bool:
        if not Reservation.objects.filter(due, pk=reservation_id).update(sampled_at=Now()):
            return False
        _copy(Reservation.objects.get(pk=reservation_id))
        return True

    return atomically(sample)


def _copy(reservation: Reservation) -> None:
    UsageSample.objects.create(
        host_id=reservation.host_id,
        subject=SampleSubject.OPERATION,
        subject_key=str(reservation.pk),
        bytes=reservation.observed_bytes,
        peak_bytes=reservation.peak_bytes,
    )
