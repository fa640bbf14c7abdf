"""Files that somebody might upload by mistake or with intent. Owns their making; what becomes of them is tested."""

import struct
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 44100


def tone(seconds: float, channels: int = 2) -> np.ndarray:
    """(frames, channels) int16 of a chord with noise."""
    t = np.arange(int(RATE * seconds)) / RATE
    x = sum(np.sin(2 * np.pi * f * t) for f in (110, 330, 550)) + np.random.default_rng(0).standard_normal(len(t)) / 4
    return np.repeat((x * 6000).astype("<i2")[:, None], channels, axis=1)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def raw_wav(
    path: Path,
    data: bytes,
    *,
    channels: int = 2,
    rate: int = RATE,
    bits: int = 16,
    kind: int = 1,
    claimed: int | None = None,
) -> Path:
    """A WAV whose header says what it is told to."""
    block = (channels * bits // 8) & 0xFFFF
    fmt = struct.pack("<HHIIHH", kind, channels, rate & 0xFFFFFFFF, (rate * block) & 0xFFFFFFFF, block, bits)
    size = len(data) if claimed is None else claimed
    head = b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    path.write_bytes(head + b"data" + struct.pack("<I", size) + data)
    return path


def encoded(path: Path, *arguments: str, seconds: float = 1.0) -> Path:
    """The tone, through ffmpeg into the format of `path`'s name."""
    source = write_wav(path.with_suffix(".source.wav"), tone(seconds))
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *arguments, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    source.unlink()
    return path


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def silent_video(path: Path) -> Path:
    source = ["-f", "lavfi", "-i", "color=size=64x64:duration=1:rate=5"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def floats(path: Path, values: list[float]) -> Path:
    samples = tone(1.0)[:, 0].astype("<f4") / 32768
    samples[1000 : 1000 + len(values)] = values
    return raw_wav(path, np.repeat(samples[:, None], 2, axis=1).tobytes(), bits=32, kind=3)


def secret_beside(path: Path) -> str:
    """Another user's file, which the hostile ones name."""
    return str(write_wav(path.with_name("secret.wav"), tone(0.5)))


Make = Callable[[Path], Path]

REFUSED: dict[str, tuple[Make, str]] = {
    "not audio": (lambda p: text(p / "a.mp3", "hello, this is a letter\n" * 100), "unreadable_audio"),
    "an empty file": (lambda p: text(p / "a.wav", ""), "empty_file"),
    "random bytes": (
        lambda p: (p / "a.flac").write_bytes(np.random.default_rng(1).bytes(5000)) and p / "a.flac",
        "unreadable_audio",
    ),
    "a video without sound": (lambda p: silent_video(p / "a.mp4"), "no_audio_stream"),
    "a WAV of 0 channels": (lambda p: raw_wav(p / "a.wav", bytes(4000), channels=0), "unreadable_audio"),
    "a WAV of 255 channels": (lambda p: raw_wav(p / "a.wav", bytes(510 * 400), channels=255), "unsupported_audio"),
    "a rate of 1 Hz": (lambda p: raw_wav(p / "a.wav", bytes(4000), rate=1), "unsupported_audio"),
    "a rate of 4294967295 Hz": (lambda p: raw_wav(p / "a.wav", bytes(4000), rate=2**32 - 1), "unreadable_audio"),
    "a playlist named .mp3": (
        lambda p: text(p / "a.mp3", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret_beside(p / 'a')}\n"),
        "unreadable_audio",
    ),
    "a concat script named .wav": (
        lambda p: text(p / "a.wav", f"ffconcat version 1.0\nfile {secret_beside(p / 'a')}\n"),
        "unreadable_audio",
    ),
    "a FLAC cut inside its header": (lambda p: cut(encoded(p / "a.flac"), 0.0005), "unreadable_audio"),
}

ACCEPTED: dict[str, Make] = {
    "a truncated FLAC": lambda p: cut(encoded(p / "a.flac"), 0.6),
    "a truncated MP3": lambda p: cut(encoded(p / "a.mp3"), 0.6),
    "one sample": lambda p: write_wav(p / "a.wav", tone(1 / RATE)),
    "silence": lambda p: write_wav(p / "a.wav", np.zeros((RATE, 2), "<i2")),
    "NaN and infinity": lambda p: floats(p / "a.wav", [float("nan"), float("inf"), float("-inf")]),
    "a header that promises more": lambda p: raw_wav(p / "a.wav", tone(0.5).tobytes(), claimed=2**32 - 100),
    "a header that promises less": lambda p: raw_wav(p / "a.wav", tone(0.5).tobytes(), claimed=4000),
}
