"""What an operation will need, learnt from what operations like it took.

Owns the arithmetic and the record of peaks. Knows no operation by name: the caller gives a kind, the features that
decide how much memory it takes, and what to assume while nothing has been observed.
"""

import math
from collections.abc import Mapping, Sequence

from memory.conf import MIB
from memory.models import PeakObservation
from memory.retries import atomically

RECENT = 20
"""Observations that count: what the code took long ago says little about what it takes now."""
MARGIN = 1.15
"""Over the highest recent peak; allocators and host load make equal work differ by a few per cent."""
ENOUGH = 3
"""Fewer observations than this may raise an estimate but not lower it."""
ROUND_TO = MIB
EXACT_UP_TO = 16

Feature = float | int | str


def estimate(kind: str, features: Mapping[str, Feature], *, default_bytes: int) -> int:
    """Bytes to reserve for an operation of this kind with these features."""
    recent = PeakObservation.objects.filter(kind=kind, feature_key=feature_key(features)).order_by("-id")
    return calibrate(list(recent.values_list("observed_bytes", flat=True)[:RECENT]), default_bytes)


def calibrate(observed: Sequence[int], default_bytes: int) -> int:
    """The highest peak observed and a margin; not below `default_bytes` until there are enough of them.

    Rounded up to whole MB. An estimate that proved low is therefore higher the next time.
    """
    if not observed:
        return default_bytes
    learnt = math.ceil(max(observed) * MARGIN / ROUND_TO) * ROUND_TO
    return learnt if len(observed) >= ENOUGH else max(learnt, default_bytes)


def record_peak(kind: str, features: Mapping[str, Feature], *, estimated: int, observed: int) -> None:
    """Remember what an operation took; one that was ended at its limit counts with that limit, or more."""
    if observed <= 0:
        return
    key = feature_key(features)
    seen = PeakObservation(kind=kind, feature_key=key, estimated_bytes=estimated, observed_bytes=observed)
    atomically(seen.save)


def feature_key(features: Mapping[str, Feature]) -> str:
    """One text for all operations that may be compared, e.g. "minutes<=4 model=htdemucs shifts=1".

    Text and small whole numbers must be equal; other numbers fall together up to the next power of two.
    """
    parts = [f"{name}{_bucket(features[name])}" for name in sorted(features)]
    return " ".join(parts)[:255]


def _bucket(value: Feature) -> str:
    if isinstance(value, str) or (isinstance(value, int) and abs(value) <= EXACT_UP_TO):
        return f"={value}"
    if value <= 0 or not math.isfinite(value):
        return "<=0"
    return f"<={2.0 ** math.ceil(math.log2(value)):g}"
