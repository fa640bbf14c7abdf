"""The voice: a glottal source through moving formants, with consonants, vibrato and glides. Owns no other stem."""

import numpy as np

from separation.starter.synthesis.harmony import Plan, melody
from separation.starter.synthesis.palette import Palette
from separation.starter.synthesis.signal import (
    FREQUENCIES,
    HOP,
    RATE,
    Rng,
    Signal,
    Strip,
    coloured_noise,
    frames_of,
    hertz,
    oscillate,
    shaped,
    unit,
    wander,
)

# First four formants, hertz, of an average adult (after Peterson and Barney 1952, rounded).
VOWELS = {
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (280, 2250, 2900, 3600),
    "o": (570, 840, 2410, 3300),
    "u": (310, 870, 2240, 3200),
    "ae": (660, 1720, 2410, 3500),
    "uh": (640, 1190, 2390, 3300),
    "er": (490, 1350, 1690, 3300),
    "m": (270, 1000, 2200, 3000),
}
# low and high edge of a consonant's noise, hertz; its seconds; its level
CONSONANTS = {
    "s": (4500, 11000, 0.10, 0.5),
    "sh": (2200, 7000, 0.11, 0.5),
    "f": (1500, 9000, 0.08, 0.2),
    "t": (3000, 9000, 0.03, 0.5),
    "k": (1200, 4500, 0.035, 0.5),
    "p": (300, 3000, 0.025, 0.4),
    "h": (600, 5000, 0.07, 0.15),
}


def _pitch(rng: Rng, notes: list[tuple[float, float, int]], seconds: float, glide: float) -> Signal:
    """Pitch in MIDI at every sample: steps smoothed by portamento, vibrato that sets in late, drift."""
    samples = int(seconds * RATE)
    time = np.arange(samples, dtype=np.float32) / RATE
    starts = np.array([note[0] for note in notes])
    index = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, None)
    steps = np.array([note[2] for note in notes], dtype=np.float32)[index]
    since = time - starts[index].astype(np.float32)
    before = np.concatenate([[notes[0][2]], [note[2] for note in notes[:-1]]]).astype(np.float32)[index]
    line = steps + (before - steps) * np.exp(-np.maximum(since, 0) / glide)
    depth, rate = rng.uniform(0.05, 0.6), rng.uniform(4.5, 6.8)
    vibrato = (
        depth * np.sin(2 * np.pi * rate * time + 0.5 * wander(samples, rng, 1)) * np.clip((since - 0.15) / 0.3, 0, 1)
    )
    return line + vibrato + 0.08 * wander(samples, rng, 6)


def _formant_gains(rng: Rng, notes: list[tuple[float, float, int]], seconds: float, scale: float) -> np.ndarray:
    """The vocal tract over time, (frames, bins): a resonance a formant, gliding from vowel to vowel."""
    samples = int(seconds * RATE)
    times = np.arange(frames_of(samples)) * HOP / RATE
    points, values = [], []
    hold = rng.uniform(0.1, 0.7)
    for start, length, _midi in notes:
        first, second = (VOWELS[str(rng.choice(list(VOWELS)))] for _ in range(2))
        glides = rng.random() < 0.35
        points += [start, start + length * hold, start + length * 0.95]
        values += [first, first, second if glides else first]
    formants = [np.interp(times, points, [v[i] for v in values]) * scale for i in range(4)]
    widths = np.array([80, 100, 140, 200]) * rng.uniform(0.7, 1.6)
    levels = np.array([1.0, rng.uniform(0.3, 1.2), rng.uniform(0.15, 0.9), rng.uniform(0.1, 0.7)])
    gains = np.full((len(times), len(FREQUENCIES)), rng.uniform(0.003, 0.05), dtype=np.float32)
    for centre, width, level in zip(formants, widths, levels, strict=True):
        distance = (FREQUENCIES[None, :] - centre[:, None].astype(np.float32)) / np.float32(width)
        gains += np.float32(level) / np.sqrt(1 + distance**2 * (1 + 0.1 * np.abs(distance)))
    return gains


def _loudness(rng: Rng, notes: list[tuple[float, float, int]], seconds: float) -> Signal:
    points, values = [0.0], [0.0]
    for start, length, _midi in notes:
        level = rng.uniform(0.55, 1.0)
        attack, release = rng.uniform(0.015, 0.07), rng.uniform(0.03, 0.09)
        points += [
            start,
            start + min(attack, length * 0.4),
            start + max(length - release, length * 0.5),
            start + length,
        ]
        joined = rng.random() < 0.4
        values += [level * 0.35 * joined, level, level * rng.uniform(0.6, 1), level * 0.35 * joined]
    return np.interp(np.arange(int(seconds * RATE)) / RATE, points, values).astype(np.float32)


def _consonants(rng: Rng, notes: list[tuple[float, float, int]], seconds: float, scale: float) -> Signal:
    strip = np.zeros(int(seconds * RATE), np.float32)
    for start, _length, _midi in notes:
        if rng.random() < 0.55:
            low, high, long, level = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
            count = int(long * rng.uniform(0.6, 1.6) * RATE)
            burst = coloured_noise(count, rng, low * scale, high * scale, 2) * np.hanning(count).astype(np.float32)
            at = max(0, int((start - long * 0.7) * RATE))
            part = strip[at : at + count]
            part += burst[: len(part)] * np.float32(level * rng.uniform(0.3, 1) * 0.35)
    return strip


def voice(
    rng: Rng, notes: list[tuple[float, float, int]], seconds: float, scale: float, *, spoken: bool = False
) -> Signal:
    """One singer on a line of notes, (samples,), peak 1; a speaker's pitch only leans on them."""
    pitch = _pitch(rng, notes, seconds, rng.uniform(0.03, 0.12) if spoken else rng.uniform(0.012, 0.07))
    pitch += rng.uniform(0, 0.25) * wander(len(pitch), rng, 60) * (rng.random() < 0.25)
    if spoken:
        pitch += rng.uniform(0.3, 2.5) * wander(len(pitch), rng, rng.uniform(1.5, 4))
    harmonics = 1 / np.arange(1, 200) ** rng.uniform(0.3, 1.5)
    source = oscillate(hertz(pitch).astype(np.float32), harmonics, rng.uniform(-0.6, 0.6, 199))
    source /= float(source.std()) + 1e-6
    breath = coloured_noise(len(source), rng, 800, 9000) * rng.uniform(0.005, 0.12)
    sung = shaped((source + breath).astype(np.float32), _formant_gains(rng, notes, seconds, scale))
    sung = unit(sung) * _loudness(rng, notes, seconds)
    return unit(sung + _consonants(rng, notes, seconds, scale))


def _spoken(rng: Rng, plan: Plan, low: int) -> list[tuple[float, float, int]]:
    """Rap or speech: short notes on a falling, uneven pitch."""
    notes, time = [], max(0.0, plan.first)
    while time < plan.seconds:
        length = float(np.clip(plan.beat * rng.choice([0.25, 0.25, 0.5, 0.75]), 0.08, 0.5))
        if rng.random() < 0.85:
            notes.append((time, length * 0.95, low + int(rng.integers(0, 7))))
        time += length
    return notes


def render(rng: Rng, plan: Plan, palette: Palette) -> Signal:
    """The voices of a song: a lead and sometimes harmonies or a double, (2, samples)."""
    strip = Strip(plan.seconds)
    span = palette.formants[int(rng.integers(len(palette.formants)))]
    scale = rng.uniform(*span)
    low = int(rng.integers(40, 52) if scale < 1 else rng.integers(53, 62))
    spoken = rng.random() < 0.25
    line = _spoken(rng, plan, low) if spoken else melody(rng, plan, low, low + 17, float(rng.uniform(0.6, 1.5)))
    notes = [note for note in line if plan.plays("vocals", note[0])]
    if not notes:
        return strip.audio
    lead = voice(rng, notes, plan.seconds, scale, spoken=spoken)
    strip.add(lead, 0.0, 1.0, float(np.clip(rng.normal(0.5, 0.04), 0.3, 0.7)))
    if rng.random() < 0.4 and not spoken:
        lift = int(rng.choice([0, 0, 3, 4, 7, 12, -12]))
        for pan in (rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9)):
            moved = [(s + abs(rng.normal(0, 0.012)), d, m + lift) for s, d, m in notes]
            strip.add(
                voice(rng, moved, plan.seconds, scale * rng.uniform(0.97, 1.03)), 0.0, rng.uniform(0.15, 0.5), pan
            )
    return strip.audio
