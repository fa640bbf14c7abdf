"""The plan: everything one run of the engine is told, read from JSON and checked.

Owns the plan's fields and their defaults. Whoever starts the engine chooses every path in it; nothing in a
plan comes from a user unchecked. Light: no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from separation.engine.errors import EngineError
from separation.errors import ReasonCode
from separation.formats import FORMATS
from separation.options import OptionError, SeparationOptions

VERSION = 1
_OPTIONS = (
    "model stems two_stems format quality shifts overlap segment clip_mode mode seed preset".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Plan:
    """One run. Paths are absolute; `options` are valid; `threads` and `max_duration_seconds` are positive."""

    input: Path
    output_dir: Path
    model_dir: Path
    ffmpeg: Path
    options: SeparationOptions
    device: str = "cpu"
    threads: int = 2
    lean: int = 0
    max_duration_seconds: float = 43200.0
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan in the JSON file at `path`. Raises `EngineError` (invalid_option, unknown_model, …)."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(ReasonCode.INVALID_OPTION, f"The plan could not be read: {error}") from error
        return cls.parse(data)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Plan:
        """The plan in `data`. Raises `EngineError` naming what is wrong."""
        if data.get("version", VERSION) != VERSION:
            raise EngineError(ReasonCode.INVALID_OPTION, f"Plan version {data.get('version')} is not supported.")
        try:
            return cls._build(data)
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(ReasonCode.INVALID_OPTION, f"The plan is not valid: {error!r}") from error

    @classmethod
    def _build(cls, data: Mapping[str, Any]) -> Plan:
        return cls(
            input=_absolute(data["input"]),
            output_dir=_absolute(data["output_dir"]),
            model_dir=_absolute(data["model_dir"]),
            ffmpeg=_absolute(data["ffmpeg"]),
            options=_options(data),
            device=str(data.get("device") or "cpu"),
            threads=max(1, int(data.get("threads") or 1)),
            lean=max(0, int(data.get("lean") or 0)),
            max_duration_seconds=float(data.get("max_duration_seconds") or 43200.0),
            tags={str(key): str(value) for key, value in (data.get("tags") or {}).items() if value},
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, accepted by `parse` again."""
        paths = {name: str(getattr(self, name)) for name in ("input", "output_dir", "model_dir", "ffmpeg")}
        rest = {name: getattr(self, name) for name in ("device", "threads", "lean", "max_duration_seconds", "tags")}
        return {"version": VERSION, **self.options.as_dict(), **paths, **rest}

    @property
    def extension(self) -> str:
        """The extension of the output files, without a dot."""
        return FORMATS[self.options.format].extension


def _absolute(value: object) -> Path:
    path = Path(str(value))
    if not path.is_absolute():
        raise ValueError(f"{path} is not absolute")
    return path


def _options(data: Mapping[str, Any]) -> SeparationOptions:
    chosen = {name: data[name] for name in _OPTIONS if data.get(name) is not None}
    try:
        return SeparationOptions.parse(chosen)
    except OptionError as error:
        code = error.code if error.code in set(ReasonCode) else ReasonCode.INVALID_OPTION
        raise EngineError(ReasonCode(code), error.message) from error
