"""What a job will need: memory, time, threads; and what it may have.

Owns the numbers a job is planned with. Their calibration is `memory.estimates` and `pace`, their first guess
`separation.catalog`, the decision whether they fit `memory.limiter`.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from memory.conf import memory_settings
from memory.estimates import estimate as calibrated
from memory.quantities import MIB
from separation import catalog
from separation.options import SeparationOptions
from separation.services import pace
from separation.services.numbers import number, whole

KIND = "separate"
PROBE_BYTES = 96 * MIB
STREAMED = frozenset({"upload", "download", "zip"})
STREAMING_BYTES = 6 * MIB
"""What a web process grows by while gigabytes pass through it, whatever their number (tests.benchmarks.uploads)."""
PIECES = 4
"""Pieces of STREAMING_CHUNK_SIZE under way at a time, at most: received, hashed, written, and one kept back."""
DATA_ROOM = 1.25


def operation_bytes(kind: str, options: SeparationOptions | None = None) -> int:
    """Expected memory of one operation of a kind, bytes.

    Probing and separating are children of their own, decoding and encoding the separation's; what is streamed
    passes through the service's own process. `options` are the separation's; its defaults where none are given.
    """
    if kind in STREAMED:
        return STREAMING_BYTES + PIECES * memory_settings().streaming_chunk_size
    if kind == "probe":
        return calibrated("probe", {}, default_bytes=PROBE_BYTES)
    chosen = options or SeparationOptions.parse({}, default_model=catalog.default_model(Path(settings.MODEL_DIR)))
    known = {"decode": lambda: catalog.DECODER_BYTES, "encode": lambda: catalog.encoder_bytes(chosen)}
    return known.get(kind, lambda: estimated_bytes(chosen))()


def estimated_bytes(options: SeparationOptions, lean: int = 0) -> int:
    """Expected peak memory of the whole process tree, bytes: what it took before, else the catalogue's guess."""
    return calibrated(
        KIND, catalog.estimate_features(options, lean), default_bytes=catalog.default_bytes(options, lean)
    )


def estimated_seconds(options: SeparationOptions, duration: float | None) -> float:
    """Expected wall time, seconds: the catalogue's, at the pace of the last runs here."""
    return guessed_seconds(options, duration) * pace.factor(options)


def guessed_seconds(options: SeparationOptions, duration: float | None, lean: int = 0) -> float:
    """Wall time by the catalogue alone, seconds."""
    return catalog.expected_seconds(options, duration or 0.0, lean, cores=engine_threads())


def stall_seconds(options: SeparationOptions) -> float:
    """How long the engine may be silent before it counts as stalled."""
    return max(number("JOB_STALL_SECONDS"), catalog.stall_seconds(options, cores=1))


def process_limit() -> int:
    """What one supervised operation may hold, bytes."""
    return memory_settings().process_memory_limit


def data_limit(limit: int) -> int | None:
    """RLIMIT_DATA for each process of the engine, bytes; none with a GPU, whose driver maps far more than it uses.

    It stops in the kernel what allocates faster than a supervisor can look. Address space that is mapped and not
    used counts too, hence the room above `limit`.
    """
    return int(limit * DATA_ROOM) if settings.ENGINE_DEVICE == "cpu" else None


def engine_threads(beside: int = 1) -> int:
    """ENGINE_THREADS, or the cores shared out over the `beside` runs that are expected at the same time."""
    return whole("ENGINE_THREADS") or max(1, available_cores() // max(1, beside))


def available_cores() -> int:
    """Cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
