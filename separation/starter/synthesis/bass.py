"""The bass: one monophonic line below about 300 Hz, by several kinds of instrument. Owns no other stem."""

import math

import numpy as np

from separation.starter.synthesis.harmony import Plan
from separation.starter.synthesis.palette import Palette
from separation.starter.synthesis.signal import (
    RATE,
    Cached,
    Rng,
    Signal,
    Strip,
    coloured_noise,
    curve,
    faded,
    frames_of,
    hertz,
    log_uniform,
    lowpass_gains,
    oscillate,
    partials,
    shaped,
    unit,
    wander,
)

HIGHEST = (38, 50)
"""From D2 to D3: the root notes of a song lie in the octave up to one of these."""
LINES = ("root", "root", "octave", "fifth", "walking", "eighths", "held")


def _harmonics(kind: str, rng: Rng) -> np.ndarray:
    k = np.arange(1, 60)
    if kind in ("saw", "reese", "slap"):
        return 1 / k ** rng.uniform(0.9, 1.2)
    if kind == "square":
        duty = rng.uniform(0.15, 0.5)
        return np.abs(np.sin(np.pi * k * duty)) / k
    if kind in ("driven", "fm"):
        return 1 / k ** rng.uniform(0.6, 1.1) * (rng.uniform(0.3, 1, len(k)))
    return np.array([1.0, rng.uniform(0, 0.4), rng.uniform(0, 0.15), rng.uniform(0, 0.1)])


def _plucked(rng: Rng, pitch: float, seconds: float, kind: str) -> Signal:
    k = np.arange(1, 40)
    stiff = rng.uniform(0, 4e-4)
    frequency = pitch * k * np.sqrt(1 + stiff * k**2)
    place = rng.uniform(0.08, 0.3)
    bright = {"picked": 0.7, "upright": 1.4, "slap": 0.5}.get(kind, 1.0) * rng.uniform(0.8, 1.4)
    amplitude = np.abs(np.sin(np.pi * k * place)) / k**bright
    decay = rng.uniform(0.6, 2.5) * (1 + rng.uniform(0.1, 0.6) * k)
    note = partials(seconds, frequency, amplitude, decay, rng.uniform(0, 6, len(k)))
    return _with_attack(rng, note)


def _with_attack(rng: Rng, note: Signal) -> Signal:
    """The finger or plectrum on the string: a thump, and now and then a click as hard as a drum's."""
    samples = int(log_uniform(rng, 0.008, 0.05) * RATE)
    thump = coloured_noise(samples, rng, 80, log_uniform(rng, 800, 8000)) * np.hanning(2 * samples)[samples:]
    note[:samples] += (log_uniform(rng, 0.01, 0.16) * float(np.abs(note).max()) * thump)[: len(note)]
    return note


def note(rng: Rng, midi: int, seconds: float, kind: str, character: Rng) -> Signal:
    """One note of a kind, (samples,), peak 1. `character` is drawn anew with the same seed for each note."""
    pitch = float(hertz(midi))
    if kind in ("picked", "upright", "slap"):
        return unit(_plucked(character, pitch, seconds, kind))
    samples = int(seconds * RATE)
    frequency = np.full(samples, pitch, np.float32) * (1 + 0.002 * wander(samples, rng, 3))
    wave = oscillate(frequency, _harmonics(kind, character))
    if kind == "reese":
        wave = wave + oscillate(frequency * character.uniform(1.004, 1.02), _harmonics("saw", character))
    if kind == "fm":
        time = np.arange(samples) / RATE
        index = character.uniform(1, 4) * np.exp(-time * character.uniform(2, 9))
        wave = np.sin(2 * np.pi * pitch * time + index * np.sin(2 * np.pi * pitch * time * character.integers(1, 4)))
    opening = log_uniform(character, 1.5, 30) * pitch + character.uniform(0, 600)
    frames = frames_of(samples)
    times = np.arange(frames) * 512 / RATE
    cutoff = pitch * 1.5 + opening * np.exp(-times * character.uniform(0.0, 9))
    wave = shaped(wave.astype(np.float32), lowpass_gains(cutoff, character.uniform(1, 2.5), character.uniform(0, 0.8)))
    if kind in ("driven", "fm", "reese"):
        wave = np.tanh(unit(wave) * character.uniform(1, 6))
    return unit(wave) * curve(samples, np.array([0, 0.05, seconds]), np.array([1, 1, character.uniform(0.3, 1)]))


def _steps(rng: Rng, plan: Plan, line: str, highest: int) -> list[tuple[float, float, int]]:
    notes: list[tuple[float, float, int]] = []
    for chord in plan.chords:
        lowered = 12 * math.ceil((plan.midi(chord.root) - highest) / 12)
        grid = {"eighths": plan.beat / 2, "held": chord.seconds, "walking": plan.beat}.get(
            line, plan.beat * float(rng.choice([0.5, 1, 1.5, 2]))
        )
        time = chord.start
        while time < chord.start + chord.seconds - 1e-3:
            degree = chord.root
            if line == "fifth" and rng.random() < 0.3:
                degree += 4
            if line == "walking" and time > chord.start:
                degree += int(rng.integers(-1, 5))
            octave = 1 if line == "octave" and rng.random() < 0.35 else 0
            if rng.random() < 0.92:
                notes.append((time, min(grid, chord.start + chord.seconds - time), plan.midi(degree, octave) - lowered))
            time += grid
    return notes


def render(rng: Rng, plan: Plan, palette: Palette) -> Signal:
    """The bass of a song, (2, samples)."""
    strip = Strip(plan.seconds)
    kind, line = str(rng.choice(palette.basses)), str(rng.choice(LINES))
    highest = int(rng.integers(HIGHEST[0], HIGHEST[1] + 1))
    seed, gate = int(rng.integers(2**31)), rng.uniform(0.4, 1.0)
    longest = plan.beat * 4
    cached = Cached(lambda midi: note(rng, midi, max(longest, 0.3), kind, np.random.default_rng(seed)))
    pan, glide = 0.5 + rng.normal(0, 0.03), rng.uniform(0.003, 0.02)
    for time, seconds, midi in _steps(rng, plan, line, highest):
        if time < 0 or not plan.plays("bass", time):
            continue
        length = int(min(max(seconds * gate, 0.08), longest) * RATE)
        strip.add(faded(cached(midi)[:length], glide, 0.02), time + rng.normal(0, 0.004), rng.uniform(0.75, 1), pan)
    return strip.audio
