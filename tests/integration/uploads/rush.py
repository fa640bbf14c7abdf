"""Eight requests of one person that come at the same moment. As a program: those of each kind, each by somebody else.

All are let in before any of them is counted, where nothing but luck keeps them apart.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

MANY, MOST = 8, 3
PATIENCE_SECONDS = 0.5
"""How long one that is about to be counted waits for the others, who may be waiting for it."""


def come_through(table: str, act: Callable[[int], object]) -> int:
    """How many of the acts, which each insert into `table`, are not refused."""
    from django.db import connection

    from separation.api.problems import Problem
    from separation.errors import ServiceError

    together = Barrier(MANY)

    def meet(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith(f'INSERT INTO "{table}"'):
            with suppress(BrokenBarrierError):
                together.wait(PATIENCE_SECONDS)
        return execute(sql, *rest)

    def attempt(number: int) -> bool:
        try:
            with connection.execute_wrapper(meet):
                act(number)
        except (Problem, ServiceError):
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(MANY) as pool:
        return sum(pool.map(attempt, range(MANY)))


def creations(owner: Any) -> int:
    """Uploads created."""
    from separation.uploads.protocol import Creation
    from separation.uploads.services import create_upload

    return come_through("uploads_upload", lambda _: create_upload(owner, Creation(10)))


def tracks(owner: Any, folder: Path, data: bytes) -> int:
    """Tracks stored of files that have arrived."""
    from separation.services import create_track
    from separation.services.probing import Facts

    return come_through(
        "separation_track",
        lambda n: create_track(owner, written(folder, n, data), "a.wav", probe=lambda *_: Facts(1.0, 8000, 1)),
    )


def files(owner: Any, folder: Path, data: bytes) -> int:
    """Files of one piece taken."""
    from separation.uploads.oneshot import take_file

    return come_through("uploads_upload", lambda n: take_file(owner, written(folder, n, data), "a.wav"))


def written(folder: Path, number: int, data: bytes) -> Path:
    path = folder / f"{number}.wav"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    import django

    django.setup()

    from django.contrib.auth.models import User

    from tests.integration.uploads.sounds import wav_bytes

    people, data = [User.objects.create_user(name) for name in ("ada", "bob", "cleo")], wav_bytes()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        json.dump([creations(people[0]), tracks(people[1], folder, data), files(people[2], folder, data)], sys.stdout)
