"""Keys, chords, tempo, bars and sections: the plan that a song's instruments follow. Owns no sound."""

from dataclasses import dataclass, field

import numpy as np

from separation.starter.synthesis.signal import Rng

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
PROGRESSIONS = (
    *((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 0, 3, 4), (0, 6, 5, 4)),
    *((0, 3), (0, 6), (5, 4, 3, 4), (0, 2, 3, 4), (3, 0, 4, 5), (0, 0, 0, 0), (0, 4, 1, 3)),
)
STEM_CHANCE = {"drums": 0.93, "bass": 0.93, "other": 0.95, "vocals": 0.85}


@dataclass(frozen=True)
class Chord:
    """A chord from `start` for `seconds`: its root as a scale degree and the degrees that sound."""

    start: float
    seconds: float
    root: int
    degrees: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A song's frame: times in seconds; `beat` is a quarter note; `swing` delays every second sixteenth (0 to 0.33)."""

    seconds: float
    beat: float
    per_bar: int
    swing: float
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[Chord, ...]
    first: float
    playing: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def midi(self, degree: int, octave: int = 0) -> int:
        """The MIDI pitch of a scale degree, counted from the tonic (around C3 to B3) and octaves above it."""
        return self.tonic + 12 * (octave + degree // 7) + self.scale[degree % 7]

    def step_time(self, bar: int, step: int) -> float:
        """When sixteenth `step` of a bar falls."""
        late = self.swing * self.beat / 4 if step % 2 else 0.0
        return self.first + bar * self.bar + step * self.beat / 4 + late

    @property
    def bar(self) -> float:
        return self.beat * self.per_bar

    @property
    def bars(self) -> range:
        return range(int((self.seconds - self.first) / self.bar) + 1)

    def chord_at(self, time: float) -> Chord:
        return next((chord for chord in reversed(self.chords) if chord.start <= time + 1e-3), self.chords[0])

    def plays(self, stem: str, time: float) -> bool:
        return any(start <= time < end for start, end in self.playing[stem])


def _chords(rng: Rng, seconds: float, first: float, bar: float) -> tuple[Chord, ...]:
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    each = bar * float(rng.choice([0.5, 1, 1, 1, 2]))
    size = int(rng.choice([3, 3, 3, 4]))
    turn = int(rng.integers(len(progression)))
    roots = [progression[(turn + i) % len(progression)] for i in range(int((seconds - first) / each) + 2)]
    degrees = [tuple(root + 2 * i for i in range(size)) for root in roots]
    return tuple(Chord(first + i * each, each, roots[i], degrees[i]) for i in range(len(roots)))


def _playing(rng: Rng, seconds: float, bar: float, full: bool) -> dict[str, tuple[tuple[float, float], ...]]:
    section = max(2 * bar, 3.0)
    edges = [(i * section, (i + 1) * section) for i in range(int(seconds / section) + 1)]
    chance = {stem: 1.0 if full else chance for stem, chance in STEM_CHANCE.items()}
    return {stem: tuple(edge for edge in edges if rng.random() < chance[stem]) for stem in chance}


def make_plan(rng: Rng, seconds: float, full: bool = False) -> Plan:
    """Draw a song's frame. `full` keeps every stem playing in every section (the demo, evaluation)."""
    beat = 60.0 / float(rng.uniform(66, 172))
    per_bar = int(rng.choice([4, 4, 4, 4, 3]))
    first = 0.0 if full else float(rng.uniform(-per_bar * beat, 0.3))
    swing = float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.1, 0.33)]))
    scale = SCALES[str(rng.choice(list(SCALES), p=[0.35, 0.35, 0.12, 0.12, 0.06]))]
    tonic = 48 + int(rng.integers(12))
    chords = _chords(rng, seconds, first, beat * per_bar)
    playing = _playing(rng, seconds, beat * per_bar, full)
    return Plan(seconds, beat, per_bar, swing, tonic, scale, chords, first, playing)


def melody(rng: Rng, plan: Plan, low: int, high: int, density: float) -> list[tuple[float, float, int]]:
    """A line of (start, seconds, MIDI pitch) that leans on the chord, moves mostly by step and leaves rests."""
    notes: list[tuple[float, float, int]] = []
    degree, time = int(rng.integers(7)), max(0.0, plan.first)
    lengths = plan.beat * np.array([0.25, 0.5, 0.5, 1, 1.5, 2, 3]) / density
    while time < plan.seconds:
        length = float(np.clip(rng.choice(lengths), 0.09, 4.0))
        if rng.random() > 0.14:
            chord = plan.chord_at(time)
            leap = rng.random() < 0.25
            degree = int(rng.choice(chord.degrees)) if leap else degree + int(rng.integers(-2, 3))
            notes.append((time, length, _fold(plan.midi(degree), low, high)))
        time += length
    return notes


def _fold(midi: int, low: int, high: int) -> int:
    while midi < low:
        midi += 12
    while midi > high:
        midi -= 12
    return midi
