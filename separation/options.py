"""The options of one separation: what may be asked for, and what is asked for when nothing is said.

Owns validation and the presets. Pure: knows neither the database nor the engine. Every option means what
Demucs means by it, except where its comment says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Protocol

from separation import catalog as default_catalog
from separation.catalog import ModelInfo
from separation.formats import DEFAULT_FORMAT, FORMATS, QualityError, check_quality

MAX_SHIFTS = 20
MAX_OVERLAP = 0.9
MIN_SEGMENT_SECONDS = 0.5
CLIP_MODES = ("rescale", "clamp", "none")
MODES = ("exact", "fast")
MAX_SEED = 2**63 - 1


class OptionError(ValueError):
    """An option that cannot be honoured: stable `code`, the `field` at fault, a sentence for people."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Preset:
    """A named choice of shifts, overlap and mode, with what it stands for."""

    name: str
    description: str
    shifts: int
    overlap: float
    mode: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "fast": Preset(
            "fast",
            "Quickest: one pass, a tenth of overlap, half-precision arithmetic where the processor has it.",
            shifts=0,
            overlap=0.1,
            mode="fast",
        ),
        "balanced": Preset(
            "balanced",
            "As the Demucs command line: one randomly shifted pass, a quarter of overlap, full precision.",
            shifts=1,
            overlap=0.25,
            mode="exact",
        ),
        "best": Preset(
            "best",
            "The average of three shifted passes, up to 0.2 dB better; three times the work.",
            shifts=3,
            overlap=0.25,
            mode="exact",
        ),
    }
)
DEFAULT_PRESET = "balanced"


class Catalog(Protocol):
    """What `SeparationOptions.parse` needs of a catalogue; the module `separation.catalog` is one."""

    @property
    def MODELS(self) -> Mapping[str, ModelInfo]: ...


@dataclass(frozen=True)
class SeparationOptions:
    """Valid, complete options of one separation.

    `stems` are in the model's order. With `two_stems` the outputs are that stem and `no_<stem>`, and
    `stems` holds just it. `segment` is in seconds, None for the model's own. `seed` makes shifts repeatable.
    """

    model: str
    stems: tuple[str, ...]
    two_stems: str | None
    format: str
    quality: dict[str, int]
    preset: str
    shifts: int
    overlap: float
    segment: float | None
    clip_mode: str
    mode: str
    seed: int

    @classmethod
    def parse(
        cls, data: Mapping[str, Any], *, catalog: Catalog = default_catalog, default_model: str | None = None
    ) -> SeparationOptions:
        """Options from a request, a form or stored JSON. Raises `OptionError` naming the field at fault.

        A missing or null value means its default; `default_model` is used when no model is named.
        """
        _refuse_unknown(data)
        info = _model(data, catalog, default_model)
        preset = _preset(data)
        two_stems = _two_stems(data, info)
        audio_format, quality = _format(data)
        return cls(
            model=info.name,
            stems=_stems(data, info, two_stems),
            two_stems=two_stems,
            format=audio_format,
            quality=quality,
            preset=preset.name,
            shifts=_integer(data, "shifts", preset.shifts, 0, MAX_SHIFTS),
            overlap=_number(data, "overlap", preset.overlap, 0.0, MAX_OVERLAP),
            segment=_segment(data, info),
            clip_mode=_choice(data, "clip_mode", "rescale", CLIP_MODES),
            mode=_choice(data, "mode", preset.mode, MODES),
            seed=_integer(data, "seed", 0, 0, MAX_SEED),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, accepted by `parse` again."""
        return {**asdict(self), "stems": list(self.stems)}

    @property
    def output_stems(self) -> tuple[str, ...]:
        """The names of the files to expect, in order."""
        return (self.two_stems, f"no_{self.two_stems}") if self.two_stems else self.stems


_FIELDS = frozenset(SeparationOptions.__dataclass_fields__)


def _refuse_unknown(data: Mapping[str, Any]) -> None:
    for name in data:
        if name not in _FIELDS:
            raise OptionError("unknown_option", str(name)[:80], f"There is no option called “{str(name)[:80]}”.")


def _model(data: Mapping[str, Any], catalog: Catalog, default_model: str | None) -> ModelInfo:
    name = data.get("model")
    if name is None:
        name = default_model or default_catalog.STARTER
    if not isinstance(name, str) or name not in catalog.MODELS:
        known = ", ".join(catalog.MODELS)
        raise OptionError("unknown_model", "model", f"There is no model “{str(name)[:80]}”. Choose one of {known}.")
    return catalog.MODELS[name]


def _preset(data: Mapping[str, Any]) -> Preset:
    return PRESETS[_choice(data, "preset", DEFAULT_PRESET, tuple(PRESETS))]


def _check_stem(field: str, stem: object, info: ModelInfo) -> str:
    if not isinstance(stem, str) or stem not in info.sources:
        sources = ", ".join(info.sources)
        raise OptionError("unknown_stem", field, f"{info.name} has no stem “{str(stem)[:80]}”; it has {sources}.")
    return stem


def _two_stems(data: Mapping[str, Any], info: ModelInfo) -> str | None:
    stem = data.get("two_stems")
    return None if stem is None else _check_stem("two_stems", stem, info)


def _stems(data: Mapping[str, Any], info: ModelInfo, two_stems: str | None) -> tuple[str, ...]:
    stems = data.get("stems")
    if stems is None:
        return (two_stems,) if two_stems else info.sources
    if two_stems and stems not in ([two_stems], (two_stems,)):
        raise OptionError("invalid_option", "stems", "Name either stems or two_stems, not both.")
    if not isinstance(stems, list | tuple) or not stems:
        raise OptionError("invalid_option", "stems", "Name at least one stem, as a list.")
    chosen = {_check_stem("stems", stem, info) for stem in stems}
    return tuple(source for source in info.sources if source in chosen)


def _format(data: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    name = _choice(data, "format", DEFAULT_FORMAT, tuple(FORMATS))
    quality = data.get("quality")
    if quality is not None and not isinstance(quality, Mapping):
        raise OptionError("invalid_option", "quality", "Quality is an object, for example {“bits”: 24}.")
    try:
        return name, check_quality(FORMATS[name], quality)
    except QualityError as error:
        raise OptionError("invalid_option", "quality", error.message) from error


def _segment(data: Mapping[str, Any], info: ModelInfo) -> float | None:
    if data.get("segment") is None:
        return None
    longest = info.max_segment_seconds
    seconds = _number(data, "segment", info.segment_seconds, MIN_SEGMENT_SECONDS, 600.0)
    if longest is not None and seconds > longest:
        message = (
            f"{info.name} takes segments of at most {longest:g} s; {seconds:g} s is longer than it was trained for."
        )
        raise OptionError("segment_too_long", "segment", message)
    return seconds


def _choice(data: Mapping[str, Any], field: str, default: str, choices: tuple[str, ...]) -> str:
    value = data.get(field)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        raise OptionError("invalid_option", field, f"{field} must be one of {', '.join(choices)}.")
    return value


def _number(data: Mapping[str, Any], field: str, default: float, low: float, high: float) -> float:
    value = data.get(field)
    if value is None:
        return default
    number = _as_float(value)
    if number is None or not low <= number <= high:
        raise OptionError("invalid_option", field, f"{field} must be a number from {low:g} to {high:g}.")
    return number


def _integer(data: Mapping[str, Any], field: str, default: int, low: int, high: int) -> int:
    value = data.get(field)
    if value is None:
        return default
    number = _as_int(value)
    if number is None or not low <= number <= high:
        raise OptionError("invalid_option", field, f"{field} must be a whole number from {low} to {high}.")
    return number


def _as_float(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_int(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _as_float(value)
    return int(number) if number is not None and number.is_integer() else None
