"""The output formats on offer: names, file extensions, MIME types and the qualities each allows.

Owns the table and its validation. Does not encode anything: `separation.engine.encode` turns a format
and a quality into ffmpeg arguments. Imports nothing but the standard library, so that any process may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class QualitySetting:
    """One adjustable number of a format: its name, unit, allowed values and default."""

    name: str
    unit: str
    values: tuple[int, ...]
    default: int
    labels: Mapping[int, str]


@dataclass(frozen=True)
class AudioFormat:
    """One output format. `encoder` is ffmpeg's name for it; empty where Stemsite writes the file itself."""

    name: str
    label: str
    extension: str
    mime: str
    lossless: bool
    encoder: str
    qualities: tuple[QualitySetting, ...]

    def default_quality(self) -> dict[str, int]:
        """The quality used when none is asked for."""
        return {setting.name: setting.default for setting in self.qualities}

    def bytes_per_second(self, quality: Mapping[str, int], *, sample_rate: int = 44100, channels: int = 2) -> int:
        """Upper bound of the size of one second of one stem, for disk and memory estimates."""
        if "bitrate" in quality:
            return int(quality["bitrate"]) * 1000 // 8
        return sample_rate * channels * int(quality.get("bits", 16)) // 8


class QualityError(ValueError):
    """A quality that the format does not have; `field` names the setting at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _bits(*values: int, default: int = 16) -> QualitySetting:
    labels = {16: "16-bit", 24: "24-bit", 32: "32-bit float"}
    return QualitySetting("bits", "bit", values, default, MappingProxyType({v: labels[v] for v in values}))


def _bitrate(*values: int, default: int) -> QualitySetting:
    return QualitySetting("bitrate", "kbit/s", values, default, MappingProxyType({v: f"{v} kbit/s" for v in values}))


_TABLE = (
    AudioFormat("wav", "WAV", "wav", "audio/wav", True, "", (_bits(16, 24, 32),)),
    AudioFormat("flac", "FLAC", "flac", "audio/flac", True, "flac", (_bits(16, 24),)),
    AudioFormat("mp3", "MP3", "mp3", "audio/mpeg", False, "libmp3lame", (_bitrate(128, 192, 256, 320, default=320),)),
    AudioFormat(
        "opus", "Ogg Opus", "opus", "audio/ogg", False, "libopus", (_bitrate(64, 96, 128, 192, 256, default=192),)
    ),
    AudioFormat(
        "ogg", "Ogg Vorbis", "ogg", "audio/ogg", False, "libvorbis", (_bitrate(96, 128, 192, 256, 320, default=256),)
    ),
    AudioFormat("m4a", "M4A (AAC)", "m4a", "audio/mp4", False, "aac", (_bitrate(128, 192, 256, 320, default=256),)),
)

FORMATS: Mapping[str, AudioFormat] = MappingProxyType({item.name: item for item in _TABLE})
DEFAULT_FORMAT = "wav"


def check_quality(audio_format: AudioFormat, quality: Mapping[str, object] | None) -> dict[str, int]:
    """The given quality completed by the format's defaults.

    Raises `QualityError` for a setting the format does not have and for a value outside its list.
    """
    checked = audio_format.default_quality()
    settings = {setting.name: setting for setting in audio_format.qualities}
    for name, value in (quality or {}).items():
        if name not in settings:
            raise QualityError(str(name), f"{audio_format.label} has no quality setting called “{name}”.")
        checked[name] = _check_value(audio_format, settings[name], value)
    return checked


def _check_value(audio_format: AudioFormat, setting: QualitySetting, value: object) -> int:
    number = _as_int(value)
    if number is None or number not in setting.values:
        allowed = ", ".join(str(item) for item in setting.values)
        raise QualityError(setting.name, f"{audio_format.label} {setting.name} must be one of {allowed}.")
    return number


def _as_int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None
