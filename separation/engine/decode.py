"""Decoding: ffmpeg's float samples as numpy windows, with back-pressure and caps.

Owns the decoder's command line, its process and the caps on what it may deliver. A truncated file yields what
can be decoded of it. Knows nothing of statistics or networks.
"""

from __future__ import annotations

import contextlib
import fcntl
import queue
import subprocess
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separation.engine.errors import EngineError
from separation.errors import ReasonCode
from separation.ffmpeg import environment, input_arguments

BLOCK_FRAMES = 65536
PIPE_BYTES = 1024**2
MATRIX_CHANNELS = 8
STEREO, FRONT = 0x3, 0x7
PAIRS = (STEREO, 0x600, 0x30, 0xC0)
"""Loudspeakers of which ffmpeg mixes both or none: front, sides, back, front of centre."""
KILLED_STATUS = 255
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", None)

Block = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A file to decode and the shape to decode it to. `source_channels` is what the file has, and `speakers` whose
    they are, as `probe.Shape` says."""

    path: Path
    ffmpeg: Path
    source_channels: int
    sample_rate: int = 44100
    channels: int = 2
    max_seconds: float = 43200.0
    speakers: int = 0

    @property
    def decoded_channels(self) -> int:
        """Channels asked of ffmpeg: a mono file stays mono and is copied, as Demucs does."""
        return 1 if self.source_channels == 1 else self.channels

    def command(self) -> list[str]:
        """The decoder's command line, writing interleaved little-endian float32 to its standard output."""
        return [
            *(str(self.ffmpeg), "-loglevel", "error"),
            *input_arguments(self.path),
            *("-map", "0:a:0"),
            *self._channel_arguments(),
            *("-ar", str(self.sample_rate), "-af", self._filters()),
            *("-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"),
        ]

    def _filters(self) -> str:
        # Longer and steeper than swresample's default; only resampled files pass through it.
        resampling = f"aresample={self.sample_rate}:filter_size=64:phase_shift=10:cutoff=0.97"
        return f"{self._first_channels()},{resampling}" if self._takes_first else resampling

    def _first_channels(self) -> str:
        numbers = "|".join(map(str, range(self.channels)))
        return f"channelmap=map={numbers}:channel_layout={'mono' if self.channels == 1 else 'stereo'}"

    @property
    def _takes_first(self) -> bool:
        """Whether the first channels are taken, as Demucs does, and not a mix of all: where these are as many as it
        wants, whatever they are called, and where ffmpeg cannot mix (`sane_layout` in its rematrix.c)."""
        if self.source_channels <= 2:
            return self.source_channels == self.channels and self.speakers not in (0, STEREO)
        return self.source_channels > MATRIX_CHANNELS or not self._can_be_mixed

    @property
    def _can_be_mixed(self) -> bool:
        return bool(self.speakers & FRONT) and all(self.speakers & pair in (0, pair) for pair in PAIRS)

    def _channel_arguments(self) -> list[str]:
        if self._takes_first:
            return []
        return ["-ac", str(self.decoded_channels)]


class Decoder:
    """One decode of a `Source` from its beginning. Use as a context manager: leaving it ends the process.

    `read_ahead` blocks wait in a queue, 0 decodes in the caller's thread. `frames` counts what was delivered;
    `truncated` is set when ffmpeg reported errors but had delivered something.
    """

    def __init__(self, source: Source, *, read_ahead: int = 2) -> None:
        self.frames = 0
        self.truncated = False
        self._source = source
        self._process = _start(source.command())
        self._blocks = ReadAhead(self._read(), read_ahead) if read_ahead else self._read()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        """Windows of shape (frames, channels), finite everywhere.

        Raises `EngineError`: too_long past the cap, unreadable_audio when nothing could be decoded,
        decoder_failed when ffmpeg was killed.
        """
        for block in self._blocks:
            self.frames += len(block)
            if self.frames > self._source.max_seconds * self._source.sample_rate:
                limit = _spoken(self._source.max_seconds)
                raise EngineError(ReasonCode.TOO_LONG, f"The music is longer than the {limit} accepted here.")
            yield block
        self._check_end()

    def close(self) -> None:
        """End the process if it still runs, and leave nothing open: no zombie, no thread, no pipe."""
        if self._process.poll() is None:
            self._process.kill()
        self._blocks.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()

    def _read(self) -> Generator[Block]:
        stdout = self._process.stdout
        assert stdout is not None
        width = 4 * self._source.decoded_channels
        while data := stdout.read(BLOCK_FRAMES * width):
            whole = len(data) - len(data) % width
            yield self._shape(np.frombuffer(data[:whole], "<f4"))

    def _shape(self, samples: NDArray[np.float32]) -> Block:
        block = samples.reshape(-1, self._source.decoded_channels).astype(np.float32)
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return np.ascontiguousarray(np.broadcast_to(block, (len(block), self._source.channels)))

    def _check_end(self) -> None:
        status = self._process.wait()
        if status < 0 or status == KILLED_STATUS:
            raise EngineError(ReasonCode.DECODER_FAILED, "The decoder was ended before it had finished.")
        if not self.frames:
            raise EngineError(ReasonCode.UNREADABLE_AUDIO)
        self.truncated = status != 0


def _spoken(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.3g} hours"
    return f"{seconds / 60:.3g} minutes" if seconds >= 120 else f"{seconds:.3g} seconds"


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment())
    except FileNotFoundError as error:
        raise EngineError(ReasonCode.FFMPEG_MISSING) from error
    if F_SETPIPE_SZ is not None and process.stdout is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(process.stdout.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
    return process


class ReadAhead:
    """`blocks`, read by a thread at most `depth` ahead; its errors are raised by the iteration.

    `close` ends the thread, whether or not all was read; what it waits for must be ended first.
    """

    def __init__(self, blocks: Generator[Block], depth: int) -> None:
        self._source = blocks
        self._ready: queue.Queue[Block | None] = queue.Queue(depth)
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(1, "decoder")
        self._filling = self._pool.submit(self._fill)

    def __iter__(self) -> Iterator[Block]:
        while (block := self._ready.get()) is not None:
            yield block
        self._filling.result()

    def close(self) -> None:
        """End the thread and the generator it reads."""
        self._closed.set()
        while not self._filling.done():
            with contextlib.suppress(queue.Empty):
                self._ready.get(timeout=0.01)
        self._pool.shutdown()
        self._source.close()

    def _fill(self) -> None:
        try:
            for block in self._source:
                if self._closed.is_set():
                    break
                self._ready.put(block)
        finally:
            self._ready.put(None)
