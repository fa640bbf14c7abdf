"""Running a command and measuring its whole process tree: wall, CPU, peak memory. Also the audio to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from memory.probes.sharing import one_memory
from separation.ffmpeg import find_ffmpeg

INTERVAL = 0.05
MIB = 1024**2


@dataclass(frozen=True)
class Measured:
    """What one run cost. `peak` is the largest sum of resident memory over the tree, in bytes."""

    wall: float
    cpu: float
    peak: int
    stdout: str
    stderr: str
    status: int


class TreeSampler(threading.Thread):
    """Looks at a process and its descendants every 50 ms; `peak` is their largest summed RSS."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(INTERVAL):
            self.peak = max(self.peak, tree_rss(self._pid))

    def stop(self) -> None:
        self._done.set()
        self.join()


def tree_rss(pid: int) -> int:
    """Summed RSS of the process and its descendants, 0 when it is gone.

    One that is being started is in its parent's memory for a moment, and is not counted a second time.
    """
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                if not one_memory(process.pid, process.ppid()):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return 0
    return total


def measure(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Measured:
    """Run to the end. CPU time is that of the command and all children it waited for."""
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )
    sampler = TreeSampler(process.pid)
    sampler.start()
    stdout, stderr = process.communicate()
    wall = time.monotonic() - started
    sampler.stop()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(wall, cpu, sampler.peak, stdout, stderr, process.returncode)


def audio(folder: Path, minutes: float) -> Path:
    """A stereo 16-bit 44.1 kHz WAV of that length (FLAC past an hour): noise, tones and slow level changes."""
    name = "flac" if minutes > 60 else "wav"
    path = folder / f"{minutes:g}min.{name}"
    if not path.exists():
        seconds = minutes * 60
        left = f"anoisesrc=d={seconds}:c=pink:a=0.4:r=44100:seed=1,tremolo=f=0.3:d=0.6"
        right = f"sine=220:d={seconds}:r=44100,tremolo=f=2:d=0.8"
        graph = "[0][1]join=inputs=2:channel_layout=stereo"
        command = [
            str(find_ffmpeg()),
            "-nostdin",
            "-y",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            left,
            "-f",
            "lavfi",
            "-i",
            right,
        ]
        subprocess.run([*command, "-filter_complex", graph, "-sample_fmt", "s16", str(path)], check=True)
    return path


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" for _ in head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()
