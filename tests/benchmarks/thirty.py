"""Thirty jobs at once with memory for two: `python -m tests.benchmarks.thirty [--jobs 30]`.

A whole instance with its worker cluster; the memory of all supervised trees together is read 20 times a second
while it works. Goal: every job succeeds, and the sum never exceeds the budget.
"""

import argparse
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import psutil

from tests.acceptance.instance import SMALL, Instance, family_of
from tests.benchmarks.standins import write_standin

MIB = 1024**2
BUDGET_MB = 2800


def song(path: Path, seconds: float) -> Path:
    noise = (np.random.default_rng(0).standard_normal((int(44100 * seconds), 2)) * 3000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(noise.tobytes())
    return path


def supervised_bytes(family: list[psutil.Process]) -> int:
    """Resident memory of everything that runs below guardians: engines and their ffmpeg."""
    return sum(resident(process) for process in family if is_supervised(process))


def is_supervised(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "manage.py" not in words and "guardian" not in words


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def submit(instance: Instance, path: Path, jobs: int) -> None:
    instance.python(
        "from pathlib import Path\n"
        "from django.contrib.auth.models import User\n"
        "from separation.services import create_track, parse_options, submit\n"
        "user, _ = User.objects.get_or_create(username='ada')\n"
        f"track = create_track(user, Path({str(path)!r}), 'Song.wav', move=False)\n"
        f"answer = [str(submit(user, track, parse_options({{}}), force=True).pk) for _ in range({jobs})]"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.thirty", description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5.0, help="of music in each")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="stemsite-thirty-") as name:
        folder = Path(name)
        write_standin(folder / "models", "htdemucs", overrides=SMALL)
        with Instance(folder, DEFAULT_MODEL="htdemucs", MEMORY_BUDGET_MB=str(BUDGET_MB)) as instance:
            return run(instance, song(folder / "song.wav", options.seconds), options.jobs)


def run(instance: Instance, path: Path, jobs: int) -> int:
    submit(instance, path, jobs)
    cluster, _ = instance.start("work"), instance.start("reap")
    began, peak, most = time.monotonic(), 0, 0
    while (states := dict(instance.query("SELECT state, count(*) FROM separation_separationjob GROUP BY state"))) and (
        states.keys() & {"queued", "running"}
    ):
        peak, most = max(peak, supervised_bytes(family_of(cluster))), max(most, states.get("running", 0))
        time.sleep(0.05)
    seconds = time.monotonic() - began
    print(f"{states.get('succeeded', 0)} of {jobs} jobs succeeded in {seconds:.0f} s, at most {most} at a time")
    print(f"peak of all of them together: {peak / MIB:.0f} MB of a budget of {BUDGET_MB} MB")
    return 0 if states == {"succeeded": jobs} and peak <= BUDGET_MB * MIB else 1


if __name__ == "__main__":
    sys.exit(main())
