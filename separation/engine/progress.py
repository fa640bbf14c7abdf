"""What the engine says while it runs: one JSON object a line on standard output.

Owns the events and their pace. Decides nothing. Diagnostics for logs go to standard error, not here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from separation.engine.errors import EngineError

PHASES = ("loading", "scanning", "separating", "finishing")
MIN_INTERVAL, READING_INTERVAL = 0.2, 1.0


class Reporter:
    """Writes events to `stream`. Progress never goes back and comes at most every `interval` seconds."""

    def __init__(
        self, stream: TextIO, *, interval: float = MIN_INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._interval = interval
        self._clock = clock
        self._last = -interval
        self._last_reading = clock()
        self._fraction = 0.0
        self._writing = threading.Lock()

    def phase(self, name: str) -> None:
        """A new phase has begun; one of `PHASES`."""
        self._write({"event": "phase", "phase": name})

    def progress(self, fraction: float) -> None:
        """How much of the whole run is done, 0 to 1."""
        self._fraction = max(self._fraction, min(1.0, fraction))
        now = self._clock()
        if now - self._last >= self._interval or self._fraction >= 1.0:
            self._last = now
            self._write({"event": "progress", "fraction": round(self._fraction, 5)})

    def reading(self, frames: int) -> None:
        """The first reading has come to `frames`. Said every second from its own thread: who hears nothing for long
        would take the reading of very long music for a stall."""
        now = self._clock()
        if now - self._last_reading >= READING_INTERVAL:
            self._last_reading = now
            self.note(frames_read=frames)

    def note(self, **facts: Any) -> None:
        """Something worth recording that changes nothing for whoever reads the events."""
        self._write({"event": "note", **facts})

    def result(self, result: Mapping[str, Any]) -> None:
        """The run's outcome; the last line of a good run."""
        self._write({"event": "result", **result})

    def error(self, error: EngineError) -> None:
        """The reason the run ended; the last line of a bad run."""
        self._write({"event": "error", "code": str(error.code), "message": error.message})

    def _write(self, event: Mapping[str, Any]) -> None:
        with self._writing:
            self._stream.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
            self._stream.flush()
