"""When waiting jobs will start, if those that run and those before them take what is expected.

Owns the simulation, which is pure. The order in which jobs take their turn is `memory.queueing`'s; that a small one may
overtake a large one when memory is short is not foreseen.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping

from memory.queueing import Candidate, turn


def starts(
    waiting: Iterable[Candidate], seconds: Mapping[str, float], running: Iterable[tuple[float, str]]
) -> dict[str, float]:
    """Seconds until each waiting job starts, by its key, in the order in which they start.

    `seconds` is what each will take; `running` what each running job still takes, and its owner. As soon as one
    ends, the next in order has its place; with nothing running there is one place, free at once.
    """
    places, left = list(running) or [(0.0, "")], list(waiting)
    heapq.heapify(places)
    found: dict[str, float] = {}
    while left:
        now, _ = heapq.heappop(places)
        busy = Counter(owner for _, owner in places)
        following = min(left, key=lambda candidate: turn(candidate, busy))
        left.remove(following)
        found[following.key] = now
        heapq.heappush(places, (now + seconds[following.key], following.owner))
    return found
