"""The drum kit: one-shots drawn from random parameters, and the patterns that play them. Owns no other stem."""

from collections.abc import Callable

import numpy as np

from separation.starter.synthesis.harmony import Plan
from separation.starter.synthesis.palette import Palette
from separation.starter.synthesis.signal import (
    RATE,
    Rng,
    Signal,
    Strip,
    coloured_noise,
    log_uniform,
    partials,
    unit,
)

Shot = Callable[[Rng, str], Signal]

# Chances in percent of a hit on each sixteenth of a 4/4 bar: kick, snare.
GROOVES = (
    ("9000000090200000", "0000900000009000"),
    ("9000900090009000", "0000900000009000"),
    ("9000900090009000", "0000000000000000"),
    ("9005000090500000", "0000900200209002"),
    ("9000000500900050", "0000000090000000"),
    ("9020009000900000", "0000900000009000"),
    ("9005005090050050", "0030009000300090"),
    ("9000003000300000", "0000000090000030"),
    ("9050509050905050", "0000900000009005"),
)
HATS = ("9090909090909090", "9999999999999999", "0090009000900090", "9000900090009000", "9079907990799079", "0" * 16)


def _time(seconds: float) -> Signal:
    return np.arange(int(seconds * RATE), dtype=np.float32) / np.float32(RATE)


def _decaying_noise(rng: Rng, seconds: float, low: float, high: float, order: float = 2.0) -> Signal:
    samples = int(seconds * 5 * RATE)
    tail = coloured_noise(samples, rng, low, high, order) * np.exp(-_time(seconds * 5)[:samples] / seconds)
    return tail.astype(np.float32)


def kick(rng: Rng, kind: str) -> Signal:
    """A falling sine with a click: `deep` and `boom` ring longer and lower."""
    long = {"acoustic": 0.09, "electronic": 0.16, "deep": 0.3, "boom": 0.55}[kind] * rng.uniform(0.6, 1.5)
    time = _time(long * 4)
    end, sweep = rng.uniform(38, 70), log_uniform(rng, 60, 900)
    fall = log_uniform(rng, 0.008, 0.05) * (3 if kind == "boom" else 1)
    phase = 2 * np.pi * (end * time + sweep * fall * (1 - np.exp(-time / fall)))
    body = np.sin(phase + rng.uniform(0, 1.5)) * np.exp(-time / long)
    body = np.tanh(body * rng.uniform(0.8, 4.0))
    click = _decaying_noise(rng, log_uniform(rng, 0.002, 0.012), 500, rng.uniform(3000, 12000))
    body[: len(click)] += click[: len(body)] * rng.uniform(0.0, 0.35)
    return unit(body.astype(np.float32))


def snare(rng: Rng, kind: str) -> Signal:
    """Two or three drum modes under a noise tail; `clap` is noise in bursts, `rim` all modes, `brush` all noise."""
    if kind == "clap":
        return _clap(rng)
    tone = rng.uniform(140, 260) * (3 if kind == "rim" else 1)
    modes = tone * np.array([1.0, 1.6, 2.14, 2.65]) * rng.uniform(0.97, 1.03, 4)
    decay = rng.uniform(12, 40, 4) * (2 if kind == "rim" else 1)
    body = unit(partials(0.5, modes, np.array([1, 0.7, 0.4, 0.3]), decay, rng.uniform(0, 6, 4)))
    ring = log_uniform(rng, 0.03, 0.16) * (2.0 if kind == "brush" else 1)
    tail = _decaying_noise(rng, min(ring, 0.3), rng.uniform(400, 2500), rng.uniform(5000, 16000))
    amount = {"acoustic": rng.uniform(0.15, 0.6), "noise": 1.0, "rim": 0.05, "brush": 1.2}[kind]
    out = np.zeros(max(len(body), len(tail)), dtype=np.float32)
    out[: len(body)] += body * (0.1 if kind in ("noise", "brush") else 1.0)
    out[: len(tail)] += tail * amount * 0.5
    return unit(np.tanh(out * rng.uniform(0.5, 2.5)))


def _clap(rng: Rng) -> Signal:
    low, high = rng.uniform(600, 1400), rng.uniform(2500, 9000)
    out = np.zeros(int(0.6 * RATE), dtype=np.float32)
    for i in range(int(rng.integers(2, 5))):
        start = int(i * rng.uniform(0.008, 0.014) * RATE)
        burst = _decaying_noise(rng, 0.006, low, high)
        out[start : start + len(burst)] += burst
    tail = _decaying_noise(rng, rng.uniform(0.04, 0.11), low, high)
    start = int(0.03 * RATE)
    out[start : start + len(tail)] += tail[: len(out) - start] * 0.7
    return unit(out)


def cymbal(rng: Rng, kind: str, ring: float) -> Signal:
    """Bright noise, inharmonic metal, a dull tin, or a tambourine's jingles, ringing for about `ring` seconds."""
    low = {"noise": 6000, "metal": 5000, "dull": 2500, "tambourine": 7000}[kind] * rng.uniform(0.7, 1.5)
    out = _decaying_noise(rng, ring, low, 19000, rng.uniform(2, 4))
    if kind in ("metal", "tambourine"):
        count = 30 if kind == "metal" else 9
        modes = rng.uniform(low * 0.6, 15000, count)
        metal = partials(
            ring * 5, modes, rng.uniform(0.2, 1, count), np.full(count, 1 / ring), rng.uniform(0, 6, count)
        )
        share = rng.uniform(0.3, 1.5)
        out = out[: len(metal)] + share * metal[: len(out)] / (metal.std() * 4 + 1e-6)
    return unit(out)


def tom(rng: Rng, pitch: float) -> Signal:
    time = _time(0.7)
    bend = rng.uniform(10, 60)
    phase = 2 * np.pi * (pitch * time + bend * 0.04 * (1 - np.exp(-time / 0.04)))
    body = np.sin(phase) * np.exp(-time / rng.uniform(0.08, 0.22))
    hit = _decaying_noise(rng, 0.008, 300, 6000)
    body[: len(hit)] += 0.2 * hit
    return unit(body.astype(np.float32))


def shaker(rng: Rng) -> Signal:
    noise = coloured_noise(int(0.12 * RATE), rng, rng.uniform(3000, 7000), 15000, 3)
    return unit(noise * np.hanning(len(noise)).astype(np.float32) ** rng.uniform(1, 4))


class Kit:
    """One-shots of one drummer; toms of three pitches."""

    def __init__(self, rng: Rng, palette: Palette) -> None:
        kinds = {name: str(rng.choice(getattr(palette, name))) for name in ("kicks", "snares", "cymbals")}
        hat_ring = log_uniform(rng, 0.012, 0.05)
        ring = log_uniform(rng, 0.25, 0.8)
        pitches = rng.uniform(70, 110) * np.array([1, 1.4, 1.9])
        self.shots: dict[str, list[Signal]] = {
            "kick": [kick(rng, kinds["kicks"])],
            "snare": [snare(rng, kinds["snares"])],
            "hat": [cymbal(rng, kinds["cymbals"], hat_ring)],
            "open": [cymbal(rng, kinds["cymbals"], hat_ring * 6)],
            "crash": [cymbal(rng, str(rng.choice(palette.cymbals)), ring)],
            "ride": [cymbal(rng, "metal" if "metal" in palette.cymbals else kinds["cymbals"], 0.3)],
            "tom": [tom(rng, pitch) for pitch in pitches],
            "shaker": [shaker(rng)],
        }
        self.pan = {name: float(np.clip(0.5 + rng.normal(0, 0.15), 0.1, 0.9)) for name in self.shots}
        self.pan["kick"] = self.pan["snare"] = 0.5
        self.level = {name: float(rng.uniform(0.5, 1.0)) for name in self.shots}
        self.level.update(hat=rng.uniform(0.12, 0.45), open=rng.uniform(0.12, 0.4), crash=rng.uniform(0.2, 0.5))
        self.level.update(ride=rng.uniform(0.08, 0.3), shaker=rng.uniform(0.05, 0.25), kick=rng.uniform(0.7, 1.1))

    def hit(self, strip: Strip, rng: Rng, name: str, at: float, velocity: float) -> None:
        takes = self.shots[name]
        strip.add(takes[rng.integers(len(takes))], at, self.level[name] * velocity, self.pan[name])


def _bar(rng: Rng, plan: Plan, kit: Kit, strip: Strip, bar: int, groove: dict[str, str]) -> None:
    for step in range(plan.per_bar * 4):
        time = plan.step_time(bar, step)
        if time < 0 or not plan.plays("drums", time):
            continue
        for name, chances in groove.items():
            if rng.random() * 9 < int(chances[step % len(chances)]):
                accent = 1.0 if step % 4 == 0 else rng.uniform(0.4, 0.95)
                kit.hit(strip, rng, name, time + rng.normal(0, 0.004), accent * rng.uniform(0.85, 1.0))


def _fill(rng: Rng, plan: Plan, kit: Kit, strip: Strip, bar: int) -> None:
    for step in range(plan.per_bar * 4 - int(rng.integers(3, 9)), plan.per_bar * 4):
        time = plan.step_time(bar, step)
        if rng.random() < 0.8 and time >= 0 and plan.plays("drums", time):
            kit.hit(strip, rng, str(rng.choice(["tom", "tom", "snare"])), time, rng.uniform(0.4, 0.9))
    time = plan.step_time(bar + 1, 0)
    if time >= 0 and plan.plays("drums", time):
        kit.hit(strip, rng, "crash", time, rng.uniform(0.6, 1.0))


def render(rng: Rng, plan: Plan, palette: Palette) -> Signal:
    """The drums of a song, (2, samples)."""
    strip, kit = Strip(plan.seconds), Kit(rng, palette)
    kicks, snares = GROOVES[rng.integers(len(GROOVES))]
    ride = rng.random() < 0.25
    pulse = HATS[rng.integers(len(HATS))]
    groove = {"kick": kicks, "snare": snares, "ride" if ride else "hat": pulse}
    if rng.random() < 0.35:
        groove["open"] = "0000001000000030"
    if rng.random() < 0.25:
        groove["shaker"] = "9595959595959595"
    for bar in plan.bars:
        _bar(rng, plan, kit, strip, bar, groove)
        if rng.random() < 0.2:
            _fill(rng, plan, kit, strip, bar)
    return strip.audio
