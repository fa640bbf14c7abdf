"""A tiny real model under the name htdemucs, audio files made by ffmpeg, and the engine as a child or in-process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from separation.engine.__main__ import main
from separation.engine.environment import engine_environment
from separation.ffmpeg import find_ffmpeg
from tests.benchmarks.standins import write_standin

ROOT = Path(__file__).resolve().parents[3]
TINY = {
    "channels": 4,
    "depth": 2,
    "nfft": 256,
    "dconv_depth": 1,
    "dconv_comp": 2,
    "bottom_channels": 0,
    "t_layers": 0,
    "segment": Fraction(1, 2),
}


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """htdemucs and htdemucs_ft as tiny networks with half-second segments at 44.1 kHz."""
    folder = tmp_path_factory.mktemp("models")
    write_standin(folder, "htdemucs", overrides=TINY)
    write_standin(folder, "htdemucs_ft", overrides={**TINY, "dconv_comp": 1})
    return folder


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    return find_ffmpeg()


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Path) -> Callable[..., Path]:
    """A file made by ffmpeg: `make("song.mp3", "-f", "lavfi", "-i", "sine=d=1")`."""
    folder = tmp_path_factory.mktemp("audio")

    def run(name: str, *arguments: str) -> Path:
        path = folder / name
        if not path.exists():
            command = [str(ffmpeg), "-nostdin", "-y", "-loglevel", "error", *arguments, str(path)]
            subprocess.run(command, check=True, timeout=120)
        return path

    return run


@pytest.fixture(scope="session")
def song(make: Callable[..., Path]) -> Path:
    """2.3 s of loud, off-centre stereo noise and tone, 16-bit WAV."""
    source = ["-f", "lavfi", "-i", "anoisesrc=d=2.3:c=pink:a=0.6:seed=3:r=44100"]
    tone = ["-f", "lavfi", "-i", "sine=220:d=2.3:r=44100"]
    return make("song.wav", *source, *tone, "-filter_complex", "[0][1]join=inputs=2:channel_layout=stereo")


@dataclass
class Ended:
    """How a run ended: its events, its exit status, and what it left in its output folder."""

    status: int
    events: list[dict[str, Any]]
    folder: Path
    stderr: str = ""

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def stem(self, name: str) -> dict[str, Any]:
        return next(output for output in self.last["outputs"] if output["stem"] == name)


@dataclass
class Engine:
    """Runs plans: `run` in this process (quick), `child` as the real program."""

    folder: Path
    model_dir: Path
    ffmpeg: Path
    capture: Callable[[], str]
    count: int = field(default=0)

    def plan(self, source: Path, **changes: Any) -> tuple[Path, Path]:
        self.count += 1
        out = self.folder / f"out{self.count}"
        out.mkdir()
        plan = {
            "version": 1,
            "input": str(source),
            "output_dir": str(out),
            "model": "htdemucs",
            "model_dir": str(self.model_dir),
            "format": "wav",
            "shifts": 0,
            "threads": 1,
            "ffmpeg": str(self.ffmpeg),
            **changes,
        }
        path = self.folder / f"plan{self.count}.json"
        path.write_text(json.dumps(plan))
        return path, out

    def run(self, source: Path, **changes: Any) -> Ended:
        path, out = self.plan(source, **changes)
        status = main(["engine", str(path)])
        return Ended(status, [json.loads(line) for line in self.capture().splitlines()], out)

    def start(
        self, source: Path, preexec: Callable[[], None] | None = None, **changes: Any
    ) -> tuple[subprocess.Popen[str], Path]:
        path, out = self.plan(source, **changes)
        process = subprocess.Popen(
            [sys.executable, "-m", "separation.engine", str(path)],
            cwd=ROOT,
            env={**os.environ, **engine_environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec,
        )
        return process, out

    def child(self, source: Path, preexec: Callable[[], None] | None = None, **changes: Any) -> Ended:
        process, out = self.start(source, preexec, **changes)
        stdout, stderr = process.communicate(timeout=120)
        return Ended(process.returncode, [json.loads(line) for line in stdout.splitlines()], out, stderr)


@pytest.fixture
def engine(tmp_path: Path, model_dir: Path, ffmpeg: Path, capsys: pytest.CaptureFixture[str]) -> Engine:
    return Engine(tmp_path, model_dir, ffmpeg, lambda: capsys.readouterr().out)


@pytest.fixture(scope="session")
def decoded(ffmpeg: Path) -> Callable[[Path], np.ndarray]:
    """A file's samples (frames, channels) as ffmpeg decodes them to float, at its own rate."""

    def read(path: Path, channels: int = 2) -> np.ndarray:
        command = [
            str(ffmpeg),
            "-nostdin",
            "-loglevel",
            "error",
            "-i",
            str(path),
            "-f",
            "f32le",
            "-c:a",
            "pcm_f32le",
            "pipe:1",
        ]
        data = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
        return np.frombuffer(data, "<f4").reshape(-1, channels)

    return read
