"""WAV headers and sample layouts: RIFF below 4 GB, RF64 above.

The length is known before the first sample, so the header is written once and is right. Chunk layouts: RIFF
(Microsoft, 1991), RF64 (EBU Tech 3306). Sample conversion follows `demucs.audio`, truncation included.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MAX_RIFF = 2**32 - 1
UNKNOWN = 0xFFFFFFFF
INTEGER, FLOAT = 1, 3
INFO_TAGS = {"title": b"INAM", "artist": b"IART"}


def header(frames: int, *, bits: int, sample_rate: int, channels: int, tags: Mapping[str, str] | None = None) -> bytes:
    """All bytes before the samples. `bits` is 16, 24, or 32 for float."""
    block = channels * bits // 8
    data_size = frames * block
    chunks = _format_chunk(bits, sample_rate, channels, block) + _fact_chunk(bits, frames) + _info_chunk(tags or {})
    padded = data_size + data_size % 2
    riff_size = 4 + len(chunks) + 8 + padded
    if riff_size > MAX_RIFF:
        sizes = struct.pack("<QQQI", riff_size + 36, data_size, frames, 0)
        return b"RF64" + _u32(UNKNOWN) + b"WAVE" + _chunk(b"ds64", sizes) + chunks + b"data" + _u32(UNKNOWN)
    return b"RIFF" + _u32(riff_size) + b"WAVE" + chunks + b"data" + _u32(data_size)


def padding(frames: int, *, bits: int, channels: int) -> bytes:
    """What must follow the samples so that the data chunk ends on an even byte."""
    return b"\0" * (frames * channels * bits // 8 % 2)


def encode(samples: NDArray[np.float32], bits: int) -> bytes:
    """Interleaved little-endian bytes of (frames, channels) samples, limited to ±1."""
    limited = np.clip(samples, -1.0, 1.0)
    if bits == 16:
        return (limited * np.float32(2**15 - 1)).astype("<i2").tobytes()
    if bits == 24:
        return left_justified_24(limited).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    return limited.astype("<f4", copy=False).tobytes()


def left_justified_24(limited: NDArray[np.float32]) -> NDArray[np.int32]:
    """24-bit samples in the upper bytes of 32-bit integers, for samples within ±1."""
    return np.ascontiguousarray((limited * np.float32(2**23 - 1)).astype("<i4") << 8)


def _format_chunk(bits: int, sample_rate: int, channels: int, block: int) -> bytes:
    kind = FLOAT if bits == 32 else INTEGER
    return _chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, sample_rate, sample_rate * block, block, bits))


def _fact_chunk(bits: int, frames: int) -> bytes:
    return _chunk(b"fact", _u32(min(frames, UNKNOWN))) if bits == 32 else b""


def _info_chunk(tags: Mapping[str, str]) -> bytes:
    entries = b"".join(_chunk(INFO_TAGS[key], tags[key].encode() + b"\0") for key in INFO_TAGS if tags.get(key))
    return _chunk(b"LIST", b"INFO" + entries) if entries else b""


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + _u32(len(content)) + content + b"\0" * (len(content) % 2)


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)
