"""The engine beside the Demucs command line: `python -m tests.benchmarks.engine [--minutes 1 3] [--plot FILE.png]`.

Both separate the same file with the same random-weight network of htdemucs's real architecture (pretrained weights
cost the same), one after the other, alternating. Default options of Demucs: one random shift, overlap 0.25, 16-bit WAV.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import MIB, Measured, audio, measure, table
from tests.benchmarks.peers import ROOT, hub_cache, run_demucs, run_engine
from tests.benchmarks.standins import write_standin

TOOLS = ("demucs", "exact", "fast")
TABLES = ("separate", "difference", "fast", "starter", "startup", "codecs", "peak")


class Bench:
    """A work folder with a model and audio in it, and the results so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        if not (self.models / "htdemucs" / "htdemucs.yaml").exists():
            write_standin(self.models, "htdemucs")
        self.hub = hub_cache(self.models, "htdemucs", folder / "hub")
        self.results: list[dict[str, Any]] = []

    def run(self, tool: str, source: Path, **changes: Any) -> Measured:
        """One run of one tool; its stems are under `folder/<tool>`."""
        out = self.folder / tool
        if tool == "demucs":
            shutil.rmtree(out, ignore_errors=True)
            return run_demucs(source, out, self.hub)
        return run_engine(source, out, self.models, mode=tool, **changes)[0]

    def separate(self, minutes: list[float], tools: list[str], pairs: int) -> None:
        """Wall, CPU and peak memory by length, each tool in turn."""
        rows = []
        for length in minutes:
            source = audio(self.folder, length)
            runs: dict[str, list[Measured]] = {tool: [] for tool in tools}
            for _ in range(pairs):
                for tool in tools:
                    done = self.run(tool, source)
                    runs[tool].append(done)
                    said = f"{done.wall:.1f} s wall, {done.cpu:.1f} s CPU, {done.peak / MIB:.0f} MB"
                    print(f"{length:g} min, {tool}: {said}", file=sys.stderr, flush=True)
            rows += [self._row(length, tool, runs) for tool in tools]
        table("Separation, htdemucs", ("minutes", "tool", "wall s", "CPU s", "× Demucs", "peak MB"), rows)

    def _row(self, length: float, tool: str, runs: dict[str, list[Measured]]) -> list[str]:
        wall = statistics.median(run.wall for run in runs[tool])
        cpu = statistics.median(run.cpu for run in runs[tool])
        peak = max(run.peak for run in runs[tool])
        self.results.append({"minutes": length, "tool": tool, "wall": wall, "cpu": cpu, "peak": peak})
        pairs = zip(runs[tool], runs.get("demucs", []), strict=False)
        ratio = statistics.median([mine.wall / theirs.wall for mine, theirs in pairs] or [0])
        return [f"{length:g}", tool, f"{wall:.1f}", f"{cpu:.1f}", f"{ratio:.2f}" if ratio else "", f"{peak / MIB:.0f}"]

    def difference(self) -> None:
        """The stems themselves: both tools without shifts, as float32."""
        source = audio(self.folder, 0.5)
        theirs_dir = self.folder / "demucs-float"
        run_demucs(source, theirs_dir, self.hub, "--shifts", "0", "--float32")
        ours_dir = self.folder / "exact-float"
        run_engine(source, ours_dir, self.models, shifts=0, quality={"bits": 32})
        rows = []
        for stem in ("drums", "bass", "other", "vocals"):
            theirs = read_float(theirs_dir / "htdemucs" / source.stem / f"{stem}.wav")
            ours = read_float(ours_dir / f"{stem}.wav")
            assert theirs.shape == ours.shape, (theirs.shape, ours.shape)
            rows.append([stem, f"{np.abs(ours - theirs).max():.1e}", f"{np.abs(theirs).max():.2f}"])
        table("Largest difference to Demucs, 30 s, exact mode", ("stem", "difference", "peak of the stem"), rows)

    def fast(self) -> None:
        """What the fast mode gives up: four numbers a stem."""
        source = audio(self.folder, 0.5)
        stems: dict[str, Path] = {}
        for label, changes in {"exact": {}, "fast": {"mode": "fast"}, "shifted": {"shifts": 1, "seed": 3}}.items():
            stems[label] = self.folder / f"float-{label}"
            run_engine(
                source,
                stems[label],
                self.models,
                **{"shifts": 0, "clip_mode": "none", "quality": {"bits": 32}, **changes},
            )
        rows = []
        for stem in ("drums", "bass", "other", "vocals"):
            exact, fast, shifted = (read_float(stems[label] / f"{stem}.wav") for label in stems)
            worst = min(snr(exact[i : i + 44100], fast[i : i + 44100]) for i in range(0, len(exact) - 44100, 44100))
            rows.append([stem, f"{snr(exact, fast):.1f}", f"{worst:.1f}", f"{snr(exact, shifted):.1f}"])
        head = ("stem", "fast to exact, dB", "worst second, dB", "two shift offsets, dB")
        table("Fast mode against exact", head, rows)
        self._silence()

    def _silence(self) -> None:
        source = self.folder / "silence.wav"
        from separation.engine import wav

        source.write_bytes(wav.header(441000, bits=16, sample_rate=44100, channels=2) + bytes(441000 * 4))
        out = self.folder / "float-silence"
        run_engine(source, out, self.models, mode="fast", shifts=0, clip_mode="none", quality={"bits": 32})
        loudest = max(np.abs(read_float(path)).max() for path in out.glob("*.wav"))
        print(f"\nFast mode in silence: {20 * np.log10(max(float(loudest), 1e-30)):.0f} dBFS at most")

    def starter(self, minutes: list[float], modes: list[str], clip_mode: str) -> None:
        """Length against memory with the bundled model."""
        rows = []
        for length in minutes:
            source = audio(self.folder, length)
            for mode in modes:
                options = {"model": "starter", "mode": mode, "shifts": 0, "clip_mode": clip_mode}
                done, result = run_engine(source, self.folder / "starter", self.models, **options)
                samples = {output["samples"] for output in result["outputs"]}
                assert samples == {round(length * 60 * 44100)}, samples
                self.results.append(
                    {"minutes": length, "tool": f"starter {mode}", "wall": done.wall, "peak": done.peak}
                )
                speed = f"{length * 60 / done.wall:.1f}"
                rows.append([f"{length:g}", mode, f"{done.wall:.1f}", speed, f"{done.peak / MIB:.0f}"])
            source.unlink()
        table("Starter model", ("minutes", "mode", "wall s", "× real time", "peak MB"), rows)

    def startup(self) -> None:
        """From nothing to a finished separation of one second."""
        source = audio(self.folder, 1 / 60)
        rows = []
        for tool in TOOLS:
            runs = [self.run(tool, source) for _ in range(3)]
            rows.append([tool, f"{min(run.wall for run in runs):.2f}", f"{min(run.cpu for run in runs):.2f}"])
        table("Start-up: all of a one-second file", ("tool", "wall s", "CPU s"), rows)

    def codecs(self) -> None:
        """Decoding and encoding alone, 3 minutes."""
        from separation.ffmpeg import find_ffmpeg

        source = audio(self.folder, 3)
        rows = []
        for name in ("wav", "flac", "mp3"):
            path = source.with_suffix(f".{name}")
            if not path.exists():
                measure([str(find_ffmpeg()), "-nostdin", "-y", "-i", str(source), str(path)])
            rows.append([f"decode {name}", *_timed(lambda path=path: self._decode(path))])
        for name, quality in {
            "wav": {"bits": 16},
            "flac": {"bits": 16},
            "mp3": {"bitrate": 320},
            "m4a": {"bitrate": 256},
        }.items():
            rows.append(
                [f"encode {name}", *_timed(lambda name=name, quality=quality: self._encode(source, name, quality))]
            )
        table("Decoding and encoding alone, one 3-minute stem", ("what", "wall s", "× real time"), rows)

    def _decode(self, source: Path) -> None:
        from separation.engine.decode import Decoder, Source
        from separation.ffmpeg import find_ffmpeg

        with Decoder(Source(source, find_ffmpeg(), 2)) as decoder:
            for _ in decoder:
                pass

    def _encode(self, source: Path, name: str, quality: dict[str, int]) -> None:
        from separation.engine.decode import Decoder, Source
        from separation.engine.encode import Target, open_writer
        from separation.ffmpeg import find_ffmpeg

        target = Target(self.folder / f"encoded.{name}", name, quality, 180 * 44100, 44100, 2, {}, find_ffmpeg())
        writer = open_writer(target)
        with Decoder(Source(source, find_ffmpeg(), 2)) as decoder:
            for block in decoder:
                writer.write(block)
        writer.close()

    def peak(self) -> None:
        """One segment against what the processor's float32 matrix product could do."""
        out = measure([sys.executable, "-m", "tests.benchmarks.segment", str(self.models)], cwd=ROOT, env=_engine_env())
        print(out.stdout or out.stderr[-2000:])

    def plot(self, path: Path) -> None:
        """Peak memory against length, both tools."""
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 4), dpi=120)
        names = {"demucs": "Demucs command line", "exact": "Stemsite, exact", "fast": "Stemsite, fast"}
        for tool in dict.fromkeys(result["tool"] for result in self.results):
            points = sorted((r["minutes"], r["peak"] / 1024**3) for r in self.results if r["tool"] == tool)
            axes.plot(*zip(*points, strict=True), marker="o", label=names.get(tool, tool))
        axes.set(xlabel="length of the track, minutes", ylabel="peak memory, GB", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        print(f"\nplot: {path}")


def _engine_env() -> dict[str, str]:
    from separation.engine.environment import engine_environment

    return engine_environment()


def _timed(work: Any) -> list[str]:
    import time

    started = time.monotonic()
    work()
    wall = time.monotonic() - started
    return [f"{wall:.2f}", f"{180 / wall:.0f}"]


def snr(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal to noise ratio in dB."""
    noise = float(np.square(reference - other, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(reference, dtype=np.float64).sum() / max(noise, 1e-30)))


def read_float(path: Path) -> np.ndarray:
    """The samples (frames, channels) of a float32 WAV with any chunks before its data."""
    data = path.read_bytes()
    start = data.index(b"data", 12) + 8
    return np.frombuffer(data[start:], "<f4").reshape(-1, 2)


def main(argv: list[str] | None = None) -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.engine", description=__doc__)
    usual = [name for name in TABLES if name != "starter"]
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=usual, help="none: only the plot of --results")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 3])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--pairs", type=int, default=1, help="runs of each tool at each length; medians are shown")
    parser.add_argument(
        "--clip-mode", default="rescale", help="of the starter table: only rescale keeps stems on disk until the end"
    )
    parser.add_argument("--folder", type=Path, help="keep audio and models here (default: a temporary folder)")
    parser.add_argument("--results", type=Path, help="add the measurements to this JSON file")
    parser.add_argument("--plot", type=Path, help="write a plot of peak memory against length")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="stemsite-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder)
        if options.results and options.results.exists():
            bench.results = json.loads(options.results.read_text())
        try:
            _run_tables(bench, options)
        finally:  # what an interrupted run has measured counts
            if options.results:
                options.results.write_text(json.dumps(bench.results, indent=1))
        if options.plot:
            bench.plot(options.plot)


def _run_tables(bench: Bench, options: argparse.Namespace) -> None:
    if "separate" in options.tables:
        bench.separate(options.minutes, options.tools, options.pairs)
    if "starter" in options.tables:
        modes = [tool for tool in options.tools if tool != "demucs"]
        bench.starter(options.minutes, modes, options.clip_mode)
    for name in ("difference", "fast", "startup", "codecs", "peak"):
        if name in options.tables:
            getattr(bench, name)()


if __name__ == "__main__":
    main()
