"""A separation without server, database or queue: a file in, stems in a folder out.

Owns what `manage.py separate` does for one file: the same supervised child and the same limits as a job's, its
output moved into place only when all of it is there, nothing left behind when it is not.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.processes import EndReason, OperationLimits, Outcome, ProcessResourceManager
from memory.streaming import StreamingFileHandler
from separation import catalog
from separation.engine.environment import engine_environment
from separation.errors import ReasonCode, ServiceError
from separation.formats import FORMATS
from separation.options import SeparationOptions
from separation.services import disk, probing, storing
from separation.services.children import ENGINE, engine_command, environment, parse_event
from separation.services.costs import data_limit, engine_threads, process_limit, stall_seconds
from separation.services.endings import LEAN_RETRIES, reason_of
from separation.services.names import clean_name
from separation.services.numbers import number
from separation.services.publishing import check_outputs
from separation.services.staging import engine_settings

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Separated:
    """What was written, and what it took (bytes, seconds)."""

    stems: dict[str, Path]
    seconds: float
    peak_bytes: int
    lean: int
    details: dict[str, Any]


class _Listener:
    """Keeps the child's last words and passes its progress on."""

    def __init__(self, on_progress: Progress) -> None:
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self._on_progress = on_progress
        self._phase, self._fraction = "loading", 0.0

    def on_line(self, line: str) -> None:
        event = parse_event(line)
        match event.get("event"):
            case "phase":
                self._phase = str(event.get("phase"))
            case "progress":
                self._fraction = float(event.get("fraction") or 0.0)
            case "result":
                self.result = event
            case "error":
                self.error = event
        self._on_progress(self._phase, self._fraction)


def separate_file(
    source: Path,
    options: SeparationOptions,
    folder: Path,
    *,
    on_progress: Progress = lambda _phase, _fraction: None,
    engine: Sequence[str] = ENGINE,
) -> Separated:
    """Separate `source` into `folder`/<stem>.<ext>. Files of the same names there are replaced.

    Raises `ServiceError` with the reason, and whatever interrupts it (KeyboardInterrupt); nothing is left then.
    """
    source = _existing(source)
    _refuse_folders(folder, options)
    facts = probing.examine(source).facts
    disk.require_room(options, facts.duration, folder)
    tags = {"title": facts.title or Path(clean_name(source.name)).stem, "artist": facts.artist}
    plan = {**options.as_dict(), **engine_settings(engine_threads()), "input": str(source), "tags": tags}
    with _workplace(folder) as workplace:
        return _run(plan, options, workplace, folder, on_progress, engine)


def _existing(source: Path) -> Path:
    if not source.is_file():
        raise ServiceError(ReasonCode.FILE_MISSING, f"There is no file {source}.")
    return source.resolve()


def _refuse_folders(folder: Path, options: SeparationOptions) -> None:
    """Before anything is replaced: a folder where a stem is to be would stop the work at its end."""
    for stem in options.output_stems:
        if (final := folder / f"{stem}.{FORMATS[options.format].extension}").is_dir():
            raise ServiceError(ReasonCode.STORAGE_FAILED, f"{final} cannot be written: it is a folder.")


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A private folder beside the result, on the same file system; folders made for nothing go again."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=".stemsite-", dir=folder.absolute()))
    except OSError as error:
        raise ServiceError(ReasonCode.STORAGE_FAILED, f"{folder} cannot be written: {error.strerror}.") from error
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        for parent in made:
            _remove_if_empty(parent)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _run(
    plan: dict[str, Any],
    options: SeparationOptions,
    workplace: Path,
    folder: Path,
    on_progress: Progress,
    engine: Sequence[str],
) -> Separated:
    steps = min(LEAN_RETRIES, len(catalog.lean_steps(options.model)))
    for lean in range(steps + 1):
        output = workplace / str(lean)
        listener = _Listener(on_progress)
        outcome = _supervise({**plan, "lean": lean, "output_dir": str(output)}, options, output, listener, engine)
        if outcome.reason is EndReason.COMPLETED and listener.result is not None:
            stems = _publish(listener.result, options, output, folder)
            details = listener.result.get("effective") or {}
            return Separated(stems, outcome.wall_seconds, outcome.peak_bytes, lean, details)
        reason, message = reason_of(outcome, listener.error)
        if reason != ReasonCode.MEMORY_LIMIT:
            break
    raise ServiceError(reason, message)


def _supervise(
    plan: dict[str, Any], options: SeparationOptions, output: Path, listener: _Listener, engine: Sequence[str]
) -> Outcome:
    path = output.with_suffix(".json")
    try:
        output.mkdir()
        path.write_text(json.dumps(plan), encoding="utf-8")
    except OSError as error:
        raise storing.storage_error(error) from error
    limits = OperationLimits(
        memory_bytes=process_limit(),
        data_bytes=data_limit(process_limit()),
        wall_seconds=number("JOB_TIMEOUT_SECONDS"),
        stall_seconds=stall_seconds(options),
        grace_seconds=1.0,
    )
    return ProcessResourceManager().run(
        engine_command(path, engine),
        limits=limits,
        label=f"separation of {plan['input']}",
        cwd=output,
        env={**environment(), **engine_environment(), "TMPDIR": str(output)},
        on_line=listener.on_line,
    )


def _publish(result: dict[str, Any], options: SeparationOptions, output: Path, folder: Path) -> dict[str, Path]:
    stems = {str(made["stem"]): folder / str(made["file"]) for made in check_outputs(result, options, output)}
    try:
        for final in stems.values():
            StreamingFileHandler().publish(output / final.name, final)
    except OSError as error:
        _take_back(stems.values(), output)
        raise storing.storage_error(error) from error
    except BaseException:
        _take_back(stems.values(), output)
        raise
    return stems


def _take_back(stems: Iterable[Path], output: Path) -> None:
    for final in stems:
        if not (output / final.name).exists():  # it was moved
            final.unlink(missing_ok=True)
