"""What a file is: duration, rate, channels, codec, container, title and artist, in one JSON line.

Run as `python -m separation.engine.probe PATH --ffmpeg FFMPEG`; prints the facts, or an error event and
exits 3. Works with ffmpeg alone (no ffprobe): rate and channels come from the header of a decoded WAV, so a
file that cannot be decoded cannot pass; tags from ffmpeg's own metadata format, whose escaping an uploader
cannot break out of. Imports neither torch nor numpy.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from separation.engine.errors import EngineError
from separation.engine.progress import Reporter
from separation.errors import ReasonCode
from separation.ffmpeg import environment, find_ffmpeg, input_arguments

TIMEOUT = 60.0
MIN_RATE, MAX_RATE = 1000, 768_000
MAX_CHANNELS = 64
MAX_TAG = 300
HEADER_BYTES = 28
EXTENSIBLE, MASK_AT = 0xFFFE, 40
TAGS = ("title", "artist")

_CONTAINER = re.compile(r"^Input #0, (?P<names>\S+), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d\.\d+)", re.MULTILINE)
_STREAM = re.compile(r"^ {2,4}Stream #0:\d+[^:]*: (?P<kind>\w+): (?P<codec>\w+)", re.MULTILINE)


class Shape(NamedTuple):
    """Rate in Hz, channels, and whose they are: a bit for each loudspeaker, lowest first (Microsoft's
    dwChannelMask), 0 for plain mono and stereo and where nothing is known."""

    rate: int
    channels: int
    speakers: int


@dataclass(frozen=True)
class AudioFacts:
    """Facts of a file's first audio stream. `duration` in seconds, `sample_rate` in Hz."""

    duration: float
    sample_rate: int
    channels: int
    codec: str
    container: str
    tags: dict[str, str] = field(default_factory=dict)


def probe(path: Path, ffmpeg: Path) -> AudioFacts:
    """The facts of the file at `path`.

    Raises `EngineError`: empty_file, unreadable_audio, no_audio_stream, unsupported_audio, ffmpeg_missing.
    """
    shape, log = _read_shape(path, ffmpeg)
    return AudioFacts(
        duration=_duration(log) or _counted_duration(path, ffmpeg),
        sample_rate=shape.rate,
        channels=shape.channels,
        codec=_audio_codec(log),
        container=_container(log),
        tags=_tags(path, ffmpeg),
    )


def stream_shape(path: Path, ffmpeg: Path) -> Shape:
    """The shape of the file's first audio stream; raises as `probe` does."""
    return _read_shape(path, ffmpeg)[0]


def _read_shape(path: Path, ffmpeg: Path) -> tuple[Shape, str]:
    _check_file(path)
    header, log = _decode_beginning(path, ffmpeg)
    shape = _shape(header, log)
    _check_supported(shape.rate, shape.channels)
    return shape, log


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise EngineError(ReasonCode.FILE_MISSING) from error
    if size == 0:
        raise EngineError(ReasonCode.EMPTY_FILE)


def _run(ffmpeg: Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    command = [str(ffmpeg), *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, env=environment(), check=False
        )
    except FileNotFoundError as error:
        raise EngineError(ReasonCode.FFMPEG_MISSING) from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(ReasonCode.UNREADABLE_AUDIO) from error


def _decode_beginning(path: Path, ffmpeg: Path) -> tuple[bytes, str]:
    output = ["-map", "0:a:0", "-t", "0.2", "-map_metadata", "-1", "-c:a", "pcm_s16le", "-f", "wav", "pipe:1"]
    done = _run(ffmpeg, [*input_arguments(path), *output])
    return done.stdout, done.stderr.decode("utf-8", "replace")


def _shape(header: bytes, log: str) -> Shape:
    kinds = [match["kind"] for match in _STREAM.finditer(_input_part(log))]
    if kinds and "Audio" not in kinds:
        raise EngineError(ReasonCode.NO_AUDIO_STREAM)
    if len(header) < HEADER_BYTES or header[:4] != b"RIFF" or header[12:16] != b"fmt ":
        raise EngineError(ReasonCode.UNREADABLE_AUDIO)
    kind, channels, rate = struct.unpack_from("<HHI", header, 20)
    said = kind == EXTENSIBLE and len(header) >= MASK_AT + 4
    return Shape(rate, channels, struct.unpack_from("<I", header, MASK_AT)[0] if said else 0)


def _check_supported(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
        message = f"The audio has {channels} channels at {rate} Hz, which cannot be processed."
        raise EngineError(ReasonCode.UNSUPPORTED_AUDIO, message + " Convert it to 44.1 kHz stereo first.")


def _input_part(log: str) -> str:
    return log.split("\nStream mapping:")[0].split("\nOutput #0")[0]


def _container(log: str) -> str:
    match = _CONTAINER.search(log)
    return match["names"].split(",")[0][:40] if match else ""


def _audio_codec(log: str) -> str:
    for match in _STREAM.finditer(_input_part(log)):
        if match["kind"] == "Audio":
            return match["codec"][:40]
    return ""


def _duration(log: str) -> float | None:
    match = _DURATION.search(_input_part(log))
    if not match:
        return None
    return int(match["h"]) * 3600 + int(match["m"]) * 60 + float(match["s"])


def _counted_duration(path: Path, ffmpeg: Path) -> float:
    """Duration of a file that does not say: the time stamp at which copying its packets ends."""
    output = ["-map", "0:a:0", "-c", "copy", "-f", "null", "-"]
    done = _run(ffmpeg, [*input_arguments(path), *output])
    times = re.findall(rb"time=(\d+):(\d\d):(\d\d\.\d+)", done.stderr)
    if not times:
        return 0.0
    hours, minutes, seconds = times[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _tags(path: Path, ffmpeg: Path) -> dict[str, str]:
    # They are known before the first packet; without an end, all of a file of gigabytes would be read.
    output = ["-map", "0:a:0", "-c", "copy", "-t", "0", "-f", "ffmetadata", "pipe:1"]
    done = _run(ffmpeg, ["-loglevel", "error", *input_arguments(path), *output])
    found = parse_ffmetadata(done.stdout.decode("utf-8", "replace"))
    return {name: found[name] for name in TAGS if found.get(name)}


def parse_ffmetadata(text: str) -> dict[str, str]:
    """Key and value pairs of ffmpeg's metadata text format, first one of each key winning.

    Format: https://ffmpeg.org/ffmpeg-formats.html#Metadata-2 ; `=`, `;`, `#`, `\\` and newlines are escaped by a
    backslash. Control characters become spaces, values are cut at 300 characters.
    """
    pairs: dict[str, str] = {}
    for line in _logical_lines(text):
        key, value = _split(line)
        if value is not None:
            pairs.setdefault(key.strip().lower(), _clean(value))
    return pairs


def _logical_lines(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^\\\n])+", text, re.DOTALL)


def _split(line: str) -> tuple[str, str | None]:
    match = re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL)
    if not match or line.startswith((";", "#", "[")):
        return "", None
    return _unescape(match[1]), _unescape(match[2])


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _clean(value: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(printable.split())[:MAX_TAG]


def main(argv: list[str] | None = None) -> int:
    """Command line entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m separation.engine.probe")
    parser.add_argument("path", type=Path)
    parser.add_argument("--ffmpeg", type=Path, default=None)
    options = parser.parse_args(argv)
    try:
        facts = probe(options.path, options.ffmpeg or find_ffmpeg())
    except EngineError as error:
        Reporter(sys.stdout).error(error)
        return 3
    sys.stdout.write(json.dumps(asdict(facts), ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
