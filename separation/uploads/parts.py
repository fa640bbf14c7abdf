"""Part files: where the bytes of unfinished uploads lie, and who may write to one.

A part is locked with flock on the file itself, so the lock goes with its holder, however that ends. Whoever
wants a part that is locked leaves a `.stop` file beside it, which the holder looks for between reads.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from separation.api.problems import Problem

POLL_SECONDS = 0.02


def folder(host: str) -> Path:
    """The upload staging area of a host, made if it is not there."""
    path = Path(settings.STAGING_DIR) / host / "uploads"
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True)
class Part:
    """The bytes of one upload on this host."""

    path: Path

    @classmethod
    def of(cls, host: str, upload_id: UUID) -> Part:
        return cls(folder(host) / f"{upload_id}.part")

    @property
    def stop_file(self) -> Path:
        """There while someone waits for the lock."""
        return self.path.with_suffix(".stop")

    @property
    def size(self) -> int:
        """Bytes on disk, 0 without a file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def remove(self) -> None:
        """Deletes the bytes; harmless when there are none."""
        self.path.unlink(missing_ok=True)
        self.stop_file.unlink(missing_ok=True)

    @contextmanager
    def locked(self, wait_seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[int]:
        """Holds the part, yielding a descriptor of it; asks a present holder to stop. Raises 423 if it does not.

        With no time to wait the holder is not disturbed.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try_lock(descriptor):
                self.stop_file.unlink(missing_ok=True)  # left by someone who was killed while waiting
            elif wait_seconds <= 0:
                raise _locked()
            else:
                self._wait(descriptor, clock() + wait_seconds, clock)
            yield descriptor
        finally:
            # A child that another thread is just starting shares the descriptor until it execs: closing alone
            # would leave the part locked for as long.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _wait(self, descriptor: int, deadline: float, clock: Callable[[], float]) -> None:
        try:
            while not _try_lock(descriptor):
                if clock() >= deadline:
                    raise _locked()
                self.stop_file.touch()  # each time: another who waited takes it away when its turn comes
                time.sleep(POLL_SECONDS)
        finally:
            self.stop_file.unlink(missing_ok=True)


def _locked() -> Problem:
    return Problem(423, "upload_locked", headers={"Retry-After": "5"})


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
