"""Everything that is neither drums, bass nor voice: chords, arpeggios and leads by many kinds. Owns no other stem."""

from collections.abc import Callable

import numpy as np

from separation.starter.synthesis.harmony import Plan, melody
from separation.starter.synthesis.palette import Palette
from separation.starter.synthesis.signal import (
    HOP,
    RATE,
    Cached,
    Rng,
    Signal,
    Strip,
    coloured_noise,
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

# kind: (partial spacing, decay per second, brightness exponent, attack seconds); 0 decay means sustained
STRUCK = {
    "piano": (1.0, 1.2, 1.2, 0.002),
    "electric_piano": (1.0, 1.0, 2.0, 0.003),
    "guitar": (1.0, 2.0, 1.0, 0.002),
    "bells": (0.0, 1.5, 0.5, 0.001),
    "marimba": (4.0, 7.0, 1.5, 0.001),
    "clavinet": (1.0, 4.0, 0.6, 0.001),
    "harp": (1.0, 2.5, 1.6, 0.002),
    "sitar": (1.0, 1.5, 0.5, 0.002),
    "glass": (0.0, 2.5, 1.0, 0.02),
}
SUSTAINED = {
    "pad": ("saw", 0.35),
    "organ": ("drawbars", 0.01),
    "strings": ("saw", 0.12),
    "brass": ("saw", 0.05),
    "synth_lead": ("square", 0.01),
    "power_chords": ("saw", 0.005),
    "square_arpeggio": ("square", 0.003),
    "stab": ("saw", 0.003),
    "drone": ("drawbars", 0.4),
    "flute": ("soft", 0.06),
    "accordion": ("reed", 0.03),
}
LEADS = {"synth_lead", "flute", "bells", "sitar", "marimba", "glass", "brass", "strings", "guitar", "piano"}
ARPEGGIOS = {"square_arpeggio", "harp", "clavinet", "guitar", "marimba", "bells", "piano", "synth_lead"}


def struck(rng: Rng, midi: int, seconds: float, kind: str) -> Signal:
    """A note whose partials decay: strings, bars, bells."""
    pitch = float(hertz(midi))
    spacing, decay, tilt, _ = STRUCK[kind]
    k = np.arange(1, 45)
    if spacing == 1.0:
        ratio = k * np.sqrt(1 + rng.uniform(0, 6e-4) * k**2)
    elif spacing:
        ratio = np.array([1.0, 3.98, 9.2, 16.2])
    else:
        ratio = np.cumsum(rng.uniform(0.3, 1.4, 14)) + 0.5
        ratio /= ratio[0]
    n = len(ratio)
    amplitude = (np.abs(np.sin(np.pi * np.arange(1, n + 1) * rng.uniform(0.1, 0.45))) + 0.05) / np.arange(1, n + 1) ** (
        tilt * rng.uniform(0.7, 1.4)
    )
    fade = decay * rng.uniform(0.5, 2) * (1 + rng.uniform(0.05, 0.4) * np.arange(n))
    wave = partials(seconds, pitch * ratio, amplitude, fade, rng.uniform(0, 6.28, n))
    if kind in ("guitar", "piano", "clavinet", "harp") and rng.random() < 0.6:
        wave = wave + partials(
            seconds, pitch * ratio * rng.uniform(1.0005, 1.003), amplitude, fade, rng.uniform(0, 6.28, n)
        )
    if kind == "guitar" and rng.random() < 0.4:
        wave = np.tanh(unit(wave) * rng.uniform(1, 10))
    return unit(wave)


def _spectrum(rng: Rng, wave: str) -> np.ndarray:
    k = np.arange(1, 80)
    if wave == "saw":
        return 1 / k ** rng.uniform(0.8, 1.3)
    if wave == "square":
        return np.abs(np.sin(np.pi * k * rng.uniform(0.1, 0.5))) / k
    if wave == "soft":
        return np.exp(-k * rng.uniform(0.7, 2.0))
    if wave == "reed":
        return 1 / k ** rng.uniform(0.5, 1.0) * (1 - 0.6 * (k % 2 == 0))
    bars = np.zeros(79)
    bars[np.array([1, 2, 3, 4, 6, 8, 10, 12, 16]) - 1] = rng.uniform(0, 1, 9) ** 1.5 + 0.05
    return bars


def sustained(rng: Rng, midi: int, seconds: float, kind: str) -> Signal:
    """A note that lasts as long as it is held: pads, organs, bowed and blown sounds, synthesisers."""
    wave, _attack = SUSTAINED[kind]
    samples = int(seconds * RATE)
    pitch = np.full(samples, float(hertz(midi)), np.float32)
    time = np.arange(samples, dtype=np.float32) / RATE
    if kind in ("strings", "flute", "synth_lead", "brass", "organ") and rng.random() < 0.7:
        pitch *= 1 + rng.uniform(0.001, 0.007) * np.sin(2 * np.pi * rng.uniform(4, 7) * time + rng.uniform(0, 6))
    spectrum = _spectrum(rng, wave)
    voices = int(rng.integers(1, 4)) if wave == "saw" else 1 + int(kind == "accordion")
    out = np.zeros(samples, np.float32)
    for _ in range(voices):
        drift = 1 + rng.normal(0, 0.003) * (voices > 1) + 0.0006 * wander(samples, rng, 2)
        out += oscillate(pitch * drift, spectrum, rng.uniform(0, 6.28, len(spectrum)))
    if kind == "flute":
        out += rng.uniform(0.02, 0.1) * coloured_noise(samples, rng, 1000, 6000)
    if kind == "power_chords":
        out = np.tanh(unit(out) * rng.uniform(3, 20))
    frames = np.arange(frames_of(samples)) * HOP / RATE
    cutoff = log_uniform(rng, 500, 14000) * (1 + rng.uniform(0, 3) * np.exp(-frames * rng.uniform(0.5, 10)))
    return unit(shaped(unit(out), lowpass_gains(cutoff, rng.uniform(1, 2), rng.uniform(0, 0.8))))


def instrument(rng: Rng, kind: str, seconds: float) -> Callable[[int], Signal]:
    """Renders notes of one instrument: the same character for every pitch."""
    make = struck if kind in STRUCK else sustained
    seed = int(rng.integers(2**31))
    return Cached(lambda midi: make(np.random.default_rng(seed), midi, seconds, kind))


def _attack(kind: str) -> float:
    return STRUCK[kind][3] if kind in STRUCK else SUSTAINED[kind][1]


def _chords(rng: Rng, plan: Plan, play: Callable[[int], Signal], kind: str, strip: Strip) -> None:
    octave, gate = int(rng.choice([-1, 0, 0, 0, 1, 1, 1])), rng.uniform(0.4, 1.0)
    grid = plan.beat * float(rng.choice([0.5, 1, 2, 4, 8]))
    spread, strum = rng.uniform(0, 0.3), rng.uniform(0, 0.03) if kind in ("guitar", "harp") else 0.0
    inversion = int(rng.integers(0, 3))
    for chord in plan.chords:
        time = chord.start
        while time < chord.start + chord.seconds - 1e-3:
            if time >= 0 and plan.plays("other", time) and rng.random() < 0.92:
                length = int(max(0.1, min(grid, chord.seconds) * gate) * RATE)
                for i, degree in enumerate(chord.degrees):
                    lift = octave + (1 if i < inversion else 0)
                    note = faded(play(plan.midi(degree, lift))[:length], _attack(kind), 0.05)
                    strip.add(note, time + i * strum, 0.5 * rng.uniform(0.8, 1), 0.5 + spread * (i - 1))
            time += grid


def _arpeggio(rng: Rng, plan: Plan, play: Callable[[int], Signal], kind: str, strip: Strip) -> None:
    grid, octave, gate = plan.beat * float(rng.choice([0.25, 0.5, 1 / 3])), int(rng.integers(0, 3)), rng.uniform(0.5, 2)
    order = rng.permutation(4)
    for chord in plan.chords:
        for step in range(int(chord.seconds / grid)):
            time = chord.start + step * grid
            if time < 0 or not plan.plays("other", time):
                continue
            at = int(order[step % 4])
            degree = chord.degrees[at % len(chord.degrees)] + (7 if at >= len(chord.degrees) else 0)
            note = faded(play(plan.midi(degree, octave))[: int(max(0.08, grid * gate) * RATE)], _attack(kind), 0.03)
            strip.add(note, time, rng.uniform(0.6, 1), float(np.clip(0.5 + rng.normal(0, 0.15), 0, 1)))


def _lead(rng: Rng, plan: Plan, play: Callable[[int], Signal], kind: str, strip: Strip) -> None:
    low = int(rng.integers(52, 68))
    pan = float(rng.uniform(0.25, 0.75))
    for time, seconds, midi in melody(rng, plan, low, low + 20, float(rng.uniform(0.7, 1.6))):
        if plan.plays("other", time):
            note = faded(play(midi)[: int(seconds * RATE)], _attack(kind), 0.04)
            strip.add(note, time, rng.uniform(0.7, 1), pan)


def render(rng: Rng, plan: Plan, palette: Palette) -> Signal:
    """The accompaniment of a song by one to four instruments, (2, samples)."""
    total = np.zeros((2, round(plan.seconds * RATE)), np.float32)
    for _ in range(int(rng.choice([1, 2, 2, 3, 3, 4]))):
        kind, strip = str(rng.choice(palette.others)), Strip(plan.seconds)
        play = instrument(rng, kind, min(4.0, plan.beat * 8))
        parts = [_chords] * 2 + [_arpeggio] * (kind in ARPEGGIOS) + [_lead] * (kind in LEADS)
        parts[int(rng.integers(len(parts)))](rng, plan, play, kind, strip)
        level = float(np.sqrt((strip.audio**2).mean())) + 1e-6
        total += strip.audio * np.float32(log_uniform(rng, 0.3, 1.0) / level * 0.1)
    return total
