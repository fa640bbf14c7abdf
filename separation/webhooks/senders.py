"""The threads that deliver: a few, and one owner's messages never in more than one of them.

Owns whose turn it is. Whoever waited longest is next, so receivers that are slow or gone hold up their own owner's
messages, and others' for no longer than a turn. Not an executor's threads: a stop would wait for their receivers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from django.db import connection

from separation.services.threads import begin

MOST_SENDERS = 4
LOOK_SECONDS = 2.0
"""How often owners are looked for whose messages have become due while others' are being sent."""


class Senders:
    """`waiting` gives the owners who have something due; `deliver` is one owner's turn, and must end."""

    def __init__(
        self, waiting: Callable[[], Collection[int]], deliver: Callable[[int], object], most: int = MOST_SENDERS
    ) -> None:
        self._waiting, self._deliver, self._most = waiting, deliver, most
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads = 0
        self._error: Exception | None = None
        self._busy: set[int] = set()
        self._last_turn: dict[int, int] = {}
        self._turns = 0

    def run(self) -> None:
        """Delivers until nothing is due and every thread has ended. Raises what a turn raised."""
        while self.start() or self._threads:
            with self._changed:
                self._changed.wait_for(lambda: self._error or not self._threads, LOOK_SECONDS)
                error, self._error = self._error, None
            if error is not None:
                raise error

    def start(self) -> int:
        """Starts as many threads as find something to do. Returns how many."""
        owners = set(self._waiting())
        with self._lock:
            more = max(0, min(self._most - self._threads, len(owners - self._busy)))
            self._threads += more
        for begun in range(more):
            try:
                begin("webhooks", self._work)
            except OSError:
                with self._lock:
                    self._threads -= more - begun
                raise
        return more

    def _work(self) -> None:
        error = None
        try:
            while (owner := self._take()) is not None:
                try:
                    self._deliver(owner)
                finally:
                    self._give_back(owner)
        except Exception as raised:  # noqa: BLE001 - `run` raises it
            error = raised
        finally:
            with self._changed:
                self._threads -= 1
                self._error = self._error or error
                self._changed.notify_all()
            connection.close()

    def _take(self) -> int | None:
        owners = self._waiting()
        with self._lock:
            free = [owner for owner in owners if owner not in self._busy]
            if not free:
                return None
            owner = min(free, key=lambda each: self._last_turn.get(each, 0))
            self._busy.add(owner)
            self._turns += 1
            self._last_turn[owner] = self._turns
            return owner

    def _give_back(self, owner: int) -> None:
        with self._lock:
            self._busy.discard(owner)
