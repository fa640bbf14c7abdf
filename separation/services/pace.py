"""How fast separations really are here, learnt from those that succeeded.

Owns the record and the factor. What a run should take by measurements elsewhere is `separation.catalog`; a machine that
is slower, busy with other jobs, or has a GPU, takes something else.
"""

from __future__ import annotations

from statistics import median

from django.db.models import QuerySet

from memory.estimates import feature_key
from memory.retries import atomically
from separation.models import PaceObservation
from separation.options import SeparationOptions

RECENT = 9
"""Runs that count: their median follows a machine that changed after five of them, and no single odd one."""
LEAST_SECONDS = 10.0
"""A run that should take less is mostly its start, and says little of the pace."""


def factor(options: SeparationOptions) -> float:
    """Wall time over the catalogue's expectation, median of the last runs with this model and mode; 1 before."""
    recent = _of(options).values_list("expected_seconds", "observed_seconds")[:RECENT]
    return median(observed / expected for expected, observed in recent) if recent else 1.0


def remember(options: SeparationOptions, *, expected: float, observed: float) -> None:
    """Note what a run took, in seconds, beside what the catalogue expects; runs that no longer count are forgotten."""
    if expected >= LEAST_SECONDS and observed > 0:
        atomically(lambda: _insert(options, expected, observed))


def _insert(options: SeparationOptions, expected: float, observed: float) -> None:
    PaceObservation.objects.create(feature_key=_key(options), expected_seconds=expected, observed_seconds=observed)
    kept = list(_of(options).values_list("pk", flat=True)[:RECENT])
    _of(options).exclude(pk__in=kept).delete()


def _of(options: SeparationOptions) -> QuerySet[PaceObservation]:
    return PaceObservation.objects.filter(feature_key=_key(options)).order_by("-id")


def _key(options: SeparationOptions) -> str:
    return feature_key({"model": options.model, "mode": options.mode})
