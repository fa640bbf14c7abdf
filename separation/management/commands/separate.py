"""`manage.py separate FILE...`: stems of files on this machine, with no server and no database.

Owns the command line: its options, its progress bar and its exit status (0: all separated, 1: some were not,
2: wrong use, 130: interrupted). The work is `separation.services.offline`'s.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from memory.quantities import format_bytes
from memory.text import printable
from separation.errors import ServiceError
from separation.options import CLIP_MODES, PRESETS, SeparationOptions
from separation.services.offline import Separated, separate_file
from separation.services.submission import parse_options, require_model
from separation.zips import unique_names

ASKED = ("model", "two_stems", "stems", "preset", "format", "quality", "shifts", "overlap", "segment", "clip_mode")
USAGE, INTERRUPTED = 2, 130
BAR_WIDTH = 30


@dataclass(frozen=True)
class Task:
    """One file and the folder its stems go to."""

    source: Path
    folder: Path


class Command(BaseCommand):
    help = "Separates audio files into stems: DIR/<name>/<stem>.<ext>."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--model", help="see `manage.py models`")
        parser.add_argument("--two-stems", metavar="STEM", help="this stem and the rest, e.g. vocals")
        parser.add_argument("--stems", type=_comma_list, metavar="A,B", help="only these stems")
        parser.add_argument("--preset", help=", ".join(PRESETS))
        parser.add_argument("--format", help="wav, flac, mp3, ogg, opus or m4a")
        parser.add_argument("--bits", type=int, help="of wav and flac samples: 16, 24, 32 (wav: float)")
        parser.add_argument("--bitrate", type=int, help="of mp3, ogg, opus and m4a, kbit/s")
        parser.add_argument("--shifts", help="random shifts to average over")
        parser.add_argument("--overlap", help="of neighbouring segments, 0 to 0.9")
        parser.add_argument("--segment", help="seconds processed at a time")
        parser.add_argument("--clip-mode", help=", ".join(CLIP_MODES))
        parser.add_argument("--out", type=Path, default=Path("separated"), metavar="DIR", help="default: ./separated")
        parser.add_argument("--json", action="store_true", help="one JSON object a file on standard output")

    def handle(self, *_: Any, **options: Any) -> None:
        logging.getLogger("memory").setLevel(logging.ERROR)  # an end is reported once, as this command's own error
        signal.signal(signal.SIGTERM, _interrupt)
        chosen = self._options(options)
        try:
            failed = sum(not self._separate(task, chosen, options["json"]) for task in tasks_for(options))
        except KeyboardInterrupt:
            raise CommandError("Interrupted; nothing of the unfinished file is left.", returncode=INTERRUPTED) from None
        if failed:
            raise CommandError(f"{failed} of {len(options['files'])} not separated.", returncode=1)

    def _options(self, options: dict[str, Any]) -> SeparationOptions:
        try:
            chosen = parse_options(asked_for(options))
            require_model(chosen.model)
        except ServiceError as refusal:
            raise CommandError(refusal.message, returncode=USAGE) from refusal
        return chosen

    def _separate(self, task: Task, chosen: SeparationOptions, as_json: bool) -> bool:
        bar = ProgressBar(printable(task.source.name), enabled=not as_json and sys.stderr.isatty())
        try:
            done = separate_file(task.source, chosen, task.folder, on_progress=bar.show)
        except ServiceError as refusal:
            bar.clear()
            self._report_failure(task, refusal, as_json)
            return False
        bar.clear()
        self.stdout.write(_json_line(task, chosen, done) if as_json else _line(task, chosen, done))
        return True

    def _report_failure(self, task: Task, refusal: ServiceError, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"file": str(task.source), "code": refusal.code, "message": refusal.message}))
        else:
            self.stderr.write(printable(f"{task.source}: {refusal.message} ({refusal.code})"))


class ProgressBar:
    """One line on the terminal that is written over; silent when not `enabled`."""

    def __init__(self, name: str, *, enabled: bool) -> None:
        self._name, self._enabled, self._shown = name, enabled, ""

    def show(self, phase: str, fraction: float) -> None:
        full = round(BAR_WIDTH * fraction)
        line = f"{self._name[:40]}  {'█' * full}{'·' * (BAR_WIDTH - full)} {fraction:4.0%}  {phase}"
        if self._enabled and line != self._shown:
            self._write(line)

    def clear(self) -> None:
        if self._enabled and self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
        self._shown = line


def tasks_for(options: dict[str, Any]) -> list[Task]:
    """A folder of its own for each file, named after it."""
    files: list[Path] = options["files"]
    names = unique_names([path.stem or path.name for path in files])
    return [Task(path, options["out"] / name) for path, name in zip(files, names, strict=True)]


def asked_for(options: dict[str, Any]) -> dict[str, Any]:
    """The separation options among the command's, without those not given."""
    quality = {name: options[name] for name in ("bits", "bitrate") if options.get(name) is not None}
    asked = {**options, "quality": quality or None}
    return {name: asked[name] for name in ASKED if asked.get(name) is not None}


def _comma_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _line(task: Task, chosen: SeparationOptions, done: Separated) -> str:
    took = f"{done.seconds:.1f} s, {format_bytes(done.peak_bytes)}"
    return printable(f"{task.source} -> {task.folder}{os.sep} ({', '.join(done.stems)}; {chosen.model}, {took})")


def _json_line(task: Task, chosen: SeparationOptions, done: Separated) -> str:
    facts = {
        "file": str(task.source),
        "model": chosen.model,
        "stems": {name: str(path) for name, path in done.stems.items()},
        "seconds": round(done.seconds, 3),
        "peak_bytes": done.peak_bytes,
        "limit_bytes": int(settings.PROCESS_MEMORY_LIMIT_MB) * 1024**2,
        "lean": done.lean,
        "effective": done.details,
    }
    return json.dumps(facts)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
