"""One of several processes that race for the same queue. Run as a program: `racer.py LEDGER SEED`.

Each admission is entered in the ledger, a file under a lock of its own, after it was granted and struck out before
it is given back: what the ledger holds at any time is a subset of what was granted.
"""

import fcntl
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

JOBS = 30
MB = 1024**2
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Plenty:
    effective_limit: int = 64 * 1024 * MB
    available: int = 64 * 1024 * MB

    def host(self) -> "Plenty":
        return self


def enter(ledger: Path, change: str, key: str, size: int) -> None:
    with ledger.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps([change, key, size, os.getpid()]) + "\n")


def race(ledger: Path, seed: int) -> None:
    from memory.limiter import Candidate, ConcurrentOperationLimiter
    from memory.models import Reservation

    dice = random.Random(seed)
    sizes = random.Random(0)
    queue = [
        Candidate(f"job-{n}", sizes.randint(20, 700) * MB, waiting_since=EPOCH + timedelta(seconds=n))
        for n in range(JOBS)
    ]
    limiter = ConcurrentOperationLimiter(probe=Plenty())

    def once(candidate: Candidate, reservation: Reservation) -> bool:
        return not Reservation.objects.filter(key=candidate.key).exclude(pk=reservation.pk).exists()

    while done() < JOBS:
        taken = set(Reservation.objects.values_list("key", flat=True))
        left = [candidate for candidate in queue if candidate.key not in taken]
        reservation = limiter.claim(left, kind="separate", lease_seconds=60, on_admit=once)
        if reservation is None:
            time.sleep(0.01)
            continue
        enter(ledger, "+", reservation.key, reservation.bytes)
        limiter.renew(reservation.pk, observed_bytes=reservation.bytes)
        time.sleep(dice.uniform(0.0, 0.03))
        enter(ledger, "-", reservation.key, reservation.bytes)
        limiter.release(reservation.pk)


def done() -> int:
    from memory.models import Reservation

    return Reservation.objects.exclude(released_at=None).count()


if __name__ == "__main__":
    import django

    django.setup()
    print("ready", flush=True)
    sys.stdin.readline()  # all begin together
    race(Path(sys.argv[1]), int(sys.argv[2]))
