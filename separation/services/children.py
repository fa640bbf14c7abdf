"""How the engine's programs are started: command lines, environment, and the lines they write.

Owns the boundary between this process and a supervised child. What a run means for its job is `running.py`'s.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from separation.ffmpeg import FfmpegMissing, find_ffmpeg

ROOT = Path(__file__).resolve().parents[2]
ENGINE = (sys.executable, "-m", "separation.engine")
PROBE = (sys.executable, "-m", "separation.engine.probe")
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "STEMSITE_FFMPEG", "CUDA_VISIBLE_DEVICES")
LONGEST_LINE = 64 * 1024


def environment() -> dict[str, str]:
    """A small environment: no secrets of the web process reach the child."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def ffmpeg_path() -> str:
    """The ffmpeg to use, or a plain `ffmpeg` for the child to report as missing."""
    try:
        return str(find_ffmpeg())
    except FfmpegMissing:
        return "/nonexistent/ffmpeg"


def engine_command(plan: Path, program: Sequence[str] = ENGINE) -> list[str]:
    return [*program, str(plan)]


def probe_command(path: Path, program: Sequence[str] = PROBE) -> list[str]:
    return [*program, str(path), "--ffmpeg", ffmpeg_path()]


def parse_event(line: str) -> dict[str, Any]:
    """One line of a child's output as an object; anything that is none gives an empty one."""
    if len(line) > LONGEST_LINE:
        return {}
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
