"""What a file is, read in a supervised child: it may be hostile.

Owns the limits of that child and the meaning of its answer. Admission is the caller's (`tracks.probe_file`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.processes import EndReason, OperationLimits, Outcome, ProcessResourceManager
from separation.errors import ReasonCode, ServiceError
from separation.services.children import environment, parse_event, probe_command
from separation.services.costs import process_limit

logger = logging.getLogger(__name__)

MIB = 1024**2
PROBE_LIMIT_BYTES = 768 * MIB
PROBE_SECONDS = 240.0
SERVER_AT_FAULT = {ReasonCode.FFMPEG_MISSING: 503, ReasonCode.DISK_FULL: 507, ReasonCode.FILE_MISSING: 500}


@dataclass(frozen=True)
class Facts:
    """What a probe read from a file. Duration in seconds, None if it cannot be told; rate in Hz."""

    duration: float | None
    sample_rate: int
    channels: int
    codec: str = ""
    container: str = ""
    title: str = ""
    artist: str = ""


@dataclass(frozen=True)
class Examined:
    """The facts, and the memory it took to read them, bytes."""

    facts: Facts
    peak_bytes: int


def examine(path: Path) -> Examined:
    """The facts of the file at `path`.

    Raises `ServiceError`: empty_file, unreadable_audio, no_audio_stream, unsupported_audio, ffmpeg_missing,
    engine_crashed.
    """
    outcome, event = _run(path)
    if outcome.reason is EndReason.COMPLETED and "sample_rate" in event:
        return Examined(_facts(event), outcome.peak_bytes)
    raise _error(outcome, event)


def _run(path: Path) -> tuple[Outcome, dict[str, Any]]:
    events: list[dict[str, Any]] = []
    limits = OperationLimits(memory_bytes=min(process_limit(), PROBE_LIMIT_BYTES), wall_seconds=PROBE_SECONDS)
    outcome = ProcessResourceManager().run(
        probe_command(path),
        limits=limits,
        label=f"probe {path.name}",
        cwd=path.parent,
        env=environment(),
        on_line=lambda line: events.append(parse_event(line)),
    )
    return outcome, events[-1] if events else {}


def _error(outcome: Outcome, event: dict[str, Any]) -> ServiceError:
    if event.get("event") == "error":
        code = str(event.get("code"))
        known = ReasonCode(code) if code in set(ReasonCode) else ReasonCode.UNREADABLE_AUDIO
        status = SERVER_AT_FAULT.get(known, 422)
        return ServiceError(known, str(event.get("message") or ""), field="file", http_status=status)
    if outcome.reason in (EndReason.MEMORY_LIMIT, EndReason.TIMED_OUT):
        return ServiceError(ReasonCode.UNREADABLE_AUDIO, field="file")
    logger.error("probe ended: %s; %s", outcome.reason, outcome.stderr_tail[-2000:])
    return ServiceError(ReasonCode.ENGINE_CRASHED, "The file could not be examined. Try again.", http_status=500)


def _facts(event: dict[str, Any]) -> Facts:
    tags = event.get("tags") or {}
    return Facts(
        duration=float(event["duration"]) if event.get("duration") is not None else None,
        sample_rate=int(event["sample_rate"]),
        channels=int(event["channels"]),
        codec=str(event.get("codec", ""))[:64],
        container=str(event.get("container", ""))[:64],
        title=str(tags.get("title", ""))[:255],
        artist=str(tags.get("artist", ""))[:255],
    )
