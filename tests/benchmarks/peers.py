"""The two tools on the same weights: the Demucs command line, unmodified, and Stemsite's engine.

Demucs finds the random-weight networks in a hub cache laid out for it, with the hub switched off.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from separation import catalog
from separation.engine.environment import engine_environment
from separation.ffmpeg import find_ffmpeg
from separation.weights import repository
from tests.benchmarks.measure import Measured, measure

ROOT = Path(__file__).resolve().parents[2]
REVISION = "0" * 40


def hub_cache(model_dir: Path, name: str, cache: Path) -> dict[str, str]:
    """Lay the model's files out as a hub cache; returns the environment that makes demucs read it."""
    place = cache / f"models--{repository(name).replace('/', '--')}"
    snapshot = place / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(REVISION)
    for path in catalog.weight_files(name, model_dir):
        target = snapshot / path.name
        if not target.exists():
            target.symlink_to(path)
    return {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}


def run_demucs(source: Path, out: Path, env: dict[str, str], *arguments: str, model: str = "htdemucs") -> Measured:
    """`python -m demucs.separate -n MODEL SOURCE`."""
    command = [sys.executable, "-m", "demucs.separate", "-n", model, "-o", str(out), *arguments, str(source)]
    done = measure(command, env)
    if done.status:
        raise SystemExit(f"demucs failed:\n{done.stderr[-2000:]}")
    return done


def run_engine(source: Path, out: Path, model_dir: Path, **changes: Any) -> tuple[Measured, dict[str, Any]]:
    """`python -m separation.engine PLAN`; returns what it cost and its result event."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plan = {
        "version": 1,
        "input": str(source),
        "output_dir": str(out),
        "model": "htdemucs",
        "model_dir": str(model_dir),
        "format": "wav",
        "shifts": 1,
        "overlap": 0.25,
        "threads": _cores(),
        "max_duration_seconds": 100 * 3600,
        "ffmpeg": str(find_ffmpeg()),
        **changes,
    }
    path = out.with_suffix(".json")
    path.write_text(json.dumps(plan))
    done = measure([sys.executable, "-m", "separation.engine", str(path)], engine_environment(), ROOT)
    if done.status:
        raise SystemExit(f"the engine failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done, json.loads(done.stdout.splitlines()[-1])


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
