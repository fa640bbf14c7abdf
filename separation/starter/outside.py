"""Material made with other tools, to see how far the starter goes beyond its own generator.

`python -m separation.starter.outside FOLDER` writes songs there as folders of four stem WAVs: drums, bass and
accompaniment are General MIDI played by fluidsynth through a SoundFont, the voice is espeak-ng reading in rhythm.
Owns the MIDI it writes and the reading of such folders; measuring is `evaluation`'s.
"""

import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from separation.starter.synthesis import RATE, STEMS
from separation.starter.synthesis.signal import Rng, Signal, gain

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
TICKS = 480
BARS = 8
LEVELS = {"drums": -17.0, "bass": -18.0, "other": -20.0, "vocals": -18.5}
# General MIDI programs, counted from 0
BASSES = (32, 33, 34, 35, 36, 38, 39)
CHORDS = (0, 4, 7, 16, 19, 24, 25, 27, 48, 50, 61, 89, 90)
LEADS = (11, 22, 40, 56, 65, 71, 73, 80, 81)
PROGRESSIONS = ((0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 1, 4))
MAJOR = (0, 2, 4, 5, 7, 9, 11)
KICKS = (0, 8), (0, 6, 8), (0, 4, 8, 12), (0, 7, 10)
VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+f2", "en-us+m3", "en-us+f4", "en-gb+m7", "en-us+m1")
LYRICS = (
    "the morning light is falling on the water and I will follow you home again tonight we run until the road is gone "
    "and every window in the city knows your name so sing it slowly hold it higher never let the summer go"
)
Note = tuple[int, int, int, int]  # start and length in ticks, pitch, velocity


def _variable(value: int) -> bytes:
    """A variable-length quantity (Standard MIDI Files 1.0)."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | value & 0x7F)
    return bytes(reversed(out))


def midi_file(tracks: list[tuple[int, int, list[Note]]], tempo: float) -> bytes:
    """A format 1 MIDI file of (channel, program, notes) at `tempo` beats a minute."""
    chunks = [_chunk([(0, b"\xff\x51\x03" + round(60e6 / tempo).to_bytes(3, "big"))])]
    for channel, program, notes in tracks:
        events = [(0, bytes([0xC0 | channel, program]))]
        for start, length, pitch, velocity in notes:
            events += [(start, bytes([0x90 | channel, pitch, velocity]))]
            events += [(start + length, bytes([0x80 | channel, pitch, 0]))]
        chunks.append(_chunk(sorted(events, key=lambda event: (event[0], event[1][0] & 0xF0 == 0x90))))
    header = b"MThd" + (6).to_bytes(4, "big")
    return header + b"".join(n.to_bytes(2, "big") for n in (1, len(chunks), TICKS)) + b"".join(chunks)


def _chunk(events: list[tuple[int, bytes]]) -> bytes:
    now, body = 0, b""
    for at, event in events:
        body += _variable(at - now) + event
        now = at
    body += b"\x00\xff\x2f\x00"
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def _drums(rng: Rng) -> list[Note]:
    step, notes = TICKS // 4, list[Note]()
    kicks, hat = KICKS[rng.integers(len(KICKS))], int(rng.choice([42, 42, 51]))
    snare = int(rng.choice([38, 40]))
    for bar in range(BARS):
        hits = [(s, 36) for s in kicks] + [(s, snare) for s in (4, 12)] + [(s, hat) for s in range(0, 16, 2)]
        if bar % 4 == 0:
            hits.append((0, 49))
        if bar % 4 == 3:
            hits += [(13, 45), (14, 47), (15, 50)]
        notes += [((bar * 16 + s) * step, step, pitch, int(rng.integers(70, 120))) for s, pitch in hits]
    return notes


def _pitch(tonic: int, degree: int) -> int:
    return tonic + 12 * (degree // 7) + MAJOR[degree % 7]


def _harmony(rng: Rng, tonic: int) -> dict[str, list[Note]]:
    roots = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    parts: dict[str, list[Note]] = {"bass": [], "chords": [], "lead": []}
    each = int(rng.choice([TICKS, TICKS * 2, TICKS * 4]))
    degree = 0
    for bar in range(BARS):
        root, start = roots[bar % 4], bar * 4 * TICKS
        for beat in range(8):
            octave = 12 * int(rng.random() < 0.15)
            parts["bass"].append((start + beat * TICKS // 2, TICKS // 2 - 20, _pitch(tonic, root) - 24 + octave, 95))
        for at in range(0, 4 * TICKS, each):
            parts["chords"] += [(start + at, each - 30, _pitch(tonic, root + d), 80) for d in (0, 2, 4)]
        for beat in range(4):
            degree = int(np.clip(degree + rng.integers(-2, 3), 0, 9))
            if rng.random() < 0.6:
                parts["lead"].append((start + beat * TICKS, TICKS - 20, _pitch(tonic + 12, degree), 85))
    return parts


def _played(folder: Path, name: str, tracks: list[tuple[int, int, list[Note]]], tempo: float) -> Signal:
    midi, audio = folder / f"{name}.mid", folder / f"{name}-raw.wav"
    midi.write_bytes(midi_file(tracks, tempo))
    command = ["fluidsynth", "-ni", "-q", "-g", "0.6", "-r", str(RATE), "-F", str(audio), str(SOUNDFONT), str(midi)]
    return _made(command, audio, midi)


def _made(command: list[str], audio: Path, *leftovers: Path) -> Signal:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    signal = read_wav(audio)
    for path in (audio, *leftovers):
        path.unlink()
    return signal


def _spoken(rng: Rng, folder: Path, samples: int, tempo: float) -> Signal:
    """Phrases of two bars' length with rests between, by one voice at changing pitch."""
    out = np.zeros((2, samples), np.float32)
    voice, bar = str(rng.choice(VOICES)), int(4 * 60 / tempo * RATE)
    for start in range(0, samples, 2 * bar):
        text = " ".join(rng.choice(LYRICS.split(), int(rng.integers(4, 9))))
        path = folder / "phrase.wav"
        style = ["-v", voice, "-p", str(rng.integers(25, 80)), "-s", str(rng.integers(120, 190))]
        phrase = _made(["espeak-ng", *style, "-w", str(path), text], path)[:, : 2 * bar]
        part = out[:, start : start + phrase.shape[1]]
        part += phrase[:, : part.shape[1]]
    return out


def make_song(seed: int, folder: Path) -> None:
    """Write one song's four stems, balanced by RMS. Raises OSError, CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tempo, parts = float(rng.uniform(80, 140)), _harmony(rng, 48 + int(rng.integers(12)))
    samples = int(BARS * 4 * 60 / tempo * RATE)
    other = [(1, int(rng.choice(CHORDS)), parts["chords"]), (2, int(rng.choice(LEADS)), parts["lead"])]
    made = {
        "drums": _played(folder, "drums", [(9, int(rng.choice([0, 8, 16, 25])), _drums(rng))], tempo),
        "bass": _played(folder, "bass", [(0, int(rng.choice(BASSES)), parts["bass"])], tempo),
        "other": _played(folder, "other", other, tempo),
        "vocals": _spoken(rng, folder, samples, tempo),
    }
    for name, audio in made.items():
        write_wav(folder / f"{name}.wav", _balanced(audio[:, :samples], samples, LEVELS[name]))


def _balanced(audio: Signal, samples: int, decibels: float) -> Signal:
    out = np.zeros((2, samples), np.float32)
    out[:, : audio.shape[1]] = audio - audio.mean(axis=1, keepdims=True)
    level = max(float(np.sqrt((out**2).mean())), 1e-6)
    return np.clip(out * np.float32(gain(decibels) / level), -1, 1).astype(np.float32)


def write_wav(path: Path, audio: Signal) -> None:
    """Write (2, samples) at 44.1 kHz as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(audio * 32767).astype("<i2").T.tobytes())


def read_wav(path: Path) -> Signal:
    """A 16-bit PCM WAV as (2, samples) at 44.1 kHz; mono is doubled, other rates are interpolated.

    Raises OSError, and ValueError when it is of another form.
    """
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path} is not a 16-bit WAV; convert it first")
        channels, rate = file.getnchannels(), file.getframerate()
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    audio = (data.reshape(-1, channels).T[[0, -1 if channels > 1 else 0]] / 32768).astype(np.float32)
    if rate == RATE:
        return audio
    at = np.arange(int(audio.shape[1] * RATE / rate)) * (rate / RATE)
    return np.stack([np.interp(at, np.arange(audio.shape[1]), side) for side in audio]).astype(np.float32)


def stem_folders(folder: Path) -> Iterator[Signal]:
    """The stems, (4, 2, samples), of each folder below `folder` that holds drums, bass, other and vocals as WAVs.

    Raises ValueError when there is none.
    """
    found = sorted(path.parent for path in folder.glob("*/drums.wav"))
    if not found:
        raise ValueError(f"No folders with drums.wav, bass.wav, other.wav and vocals.wav in {folder}")
    for place in found:
        stems = [read_wav(place / f"{name}.wav") for name in STEMS]
        shortest = min(stem.shape[1] for stem in stems)
        yield np.stack([stem[:, :shortest] for stem in stems])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m separation.starter.outside FOLDER\n")
        return 2
    for seed in range(12):
        make_song(seed, Path(arguments[0]) / f"song{seed:02d}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
