"""Writing one stem: as WAV by our own hand, or through an ffmpeg encoder.

Owns the encoders' command lines and processes. A writer takes finished samples in order and, closed, says what it
wrote. Does not decide what is clipped (`clip`) or staged (`staging`).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from separation.engine import wav
from separation.engine.errors import EngineError
from separation.engine.hashing import Digests, HashingFile, digest_file
from separation.errors import ReasonCode
from separation.ffmpeg import environment
from separation.formats import FORMATS

LONG_M4A_SECONDS = 3600
FLAC_BLOCK = 4608
"""The encoder's own choice at 44.1 kHz. Left to itself ffmpeg 9 takes the length of what comes first, and refuses
music of less than 16 samples."""
LOG_BYTES = 4000
FULL_MESSAGES = ("No space left on device", "Disk quota exceeded", "File too large")


@dataclass(frozen=True)
class Target:
    """One output file and the shape of its sound; `frames` is known before the first sample."""

    path: Path
    format: str
    quality: Mapping[str, int]
    frames: int
    sample_rate: int
    channels: int
    tags: Mapping[str, str]
    ffmpeg: Path


class StemWriter(Protocol):
    """Takes (frames, channels) float32 in order. `abandon` ends it in any state, leaving no process."""

    def write(self, samples: NDArray[np.float32]) -> None: ...
    def close(self) -> Digests: ...
    def abandon(self) -> None: ...


def open_writer(target: Target) -> StemWriter:
    """The writer for the target's format."""
    return WavWriter(target) if target.format == "wav" else FfmpegWriter(target)


class WavWriter:
    """Writes WAV or RF64. Raises OSError when the disk is full."""

    def __init__(self, target: Target) -> None:
        self._bits = target.quality["bits"]
        self._end = wav.padding(target.frames, bits=self._bits, channels=target.channels)
        self._file = HashingFile(target.path)
        shape = {"bits": self._bits, "sample_rate": target.sample_rate, "channels": target.channels}
        self._file.write(wav.header(target.frames, **shape, tags=target.tags))

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append (frames, channels) samples."""
        self._file.write(wav.encode(samples, self._bits))

    def close(self) -> Digests:
        """Finish the file."""
        self._file.write(self._end)
        return self._file.close()

    def abandon(self) -> None:
        """Stop; the file is incomplete."""
        self._file.abandon()


class FfmpegWriter:
    """Pipes samples to an encoder. Raises `EngineError` (encoder_failed, disk_full) when it ends early."""

    def __init__(self, target: Target) -> None:
        self._target = target
        command = encoder_command(target)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
            )
        except FileNotFoundError as error:
            raise EngineError(ReasonCode.FFMPEG_MISSING) from error
        self._log = b""
        self._drain = threading.Thread(target=self._keep_log, daemon=True, name="encoder-log")
        self._drain.start()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append (frames, channels) samples."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pipe_samples(samples, self._target))
        except BrokenPipeError as error:
            raise self._failure() from error

    def close(self) -> Digests:
        """Let the encoder finish, and check that it did."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()
        self._drain.join()
        self._close_log()
        return digest_file(self._target.path)

    def abandon(self) -> None:
        """End the encoder; the file is incomplete."""
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()
        self._drain.join()
        self._close_log()

    def _keep_log(self) -> None:
        assert self._process.stderr is not None
        while data := self._process.stderr.read1(LOG_BYTES):  # type: ignore[attr-defined]
            self._log = (self._log + data)[-LOG_BYTES:]

    def _close_log(self) -> None:
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _failure(self) -> EngineError:
        status = self._process.wait()
        self._drain.join()
        log = self._log.decode("utf-8", "replace")
        if status == -signal.SIGXFSZ or any(text in log for text in FULL_MESSAGES):
            return EngineError(ReasonCode.DISK_FULL)
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return EngineError(ReasonCode.ENCODER_FAILED, f"The {self._target.format} encoder {how}.")


def encoder_command(target: Target) -> list[str]:
    """The encoder's command line, reading raw samples from its standard input."""
    tags = [item for key, value in target.tags.items() for item in ("-metadata", f"{key}={value}")]
    return [
        *(str(target.ffmpeg), "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", _pipe_format(target), "-ar", str(target.sample_rate), "-ac", str(target.channels), "-i", "pipe:0"),
        *("-map_metadata", "-1", *tags, "-c:a", FORMATS[target.format].encoder, "-threads", "1"),
        *_encoder_options(target),
        f"file:{target.path}",
    ]


def _pipe_format(target: Target) -> str:
    if target.format != "flac":
        return "f32le"
    return "s32le" if target.quality["bits"] == 24 else "s16le"


def pipe_samples(samples: NDArray[np.float32], target: Target) -> bytes:
    """The bytes the encoder expects: Demucs's integers for FLAC, float for codecs that quantise themselves."""
    if target.format != "flac":
        return np.ascontiguousarray(samples, "<f4").tobytes()
    if target.quality["bits"] == 16:
        return wav.encode(samples, 16)
    return wav.left_justified_24(np.clip(samples, -1.0, 1.0)).tobytes()


def _encoder_options(target: Target) -> list[str]:
    if target.format == "flac":
        return ["-bits_per_raw_sample", str(target.quality["bits"]), "-frame_size", str(FLAC_BLOCK), "-f", "flac"]
    rate = ["-b:a", f"{target.quality['bitrate']}k"]
    if target.format == "mp3":
        return [*rate, "-id3v2_version", "3", "-f", "mp3"]
    if target.format == "opus":
        return [*rate, "-f", "opus"]
    if target.format == "ogg":
        return [*rate, "-f", "ogg"]
    return [*rate, *_m4a_options(target), "-f", "ipod"]


def _m4a_options(target: Target) -> list[str]:
    # An ordinary MP4 keeps its sample table in memory until the end; fragments keep that flat for long files. Their
    # header waits for the first of them (delay_moov): only then it can say how much silence the encoder put in front.
    if target.frames < LONG_M4A_SECONDS * target.sample_rate:
        return []
    return ["-movflags", "delay_moov+default_base_moof", "-frag_duration", "10000000"]
