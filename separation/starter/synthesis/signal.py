"""The few signal tools every instrument uses: partials, oscillators, noise, moving filters, envelopes.

Owns no instrument and no music. Signals are float32 arrays at `RATE`; frequencies are in hertz, times in seconds.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

RATE = 44_100
HOP = 512
FRAME = 2048
TABLE = 4096

Signal = npt.NDArray[np.float32]
Rng = np.random.Generator
FREQUENCIES = np.fft.rfftfreq(FRAME, 1 / RATE).astype(np.float32)


def hertz(midi: float | npt.NDArray) -> npt.NDArray:
    """Equal temperament, A4 (MIDI 69) at 440 Hz."""
    return 440.0 * 2.0 ** ((np.asarray(midi, dtype=np.float64) - 69.0) / 12.0)


def gain(decibels: float) -> float:
    return float(10.0 ** (decibels / 20.0))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def partials(
    seconds: float, frequency: npt.NDArray, amplitude: npt.NDArray, decay: npt.NDArray, phase: npt.NDArray
) -> Signal:
    """The sum of `amplitude * exp(-decay t) * cos(2 pi frequency t + phase)`, shape (samples,).

    exp(z (a + b)) = exp(z a) exp(z b): with the time axis cut in blocks the sum is one small matrix product, some
    fifty times faster than evaluating each cosine.
    """
    heard = frequency < 0.46 * RATE
    rate = (-decay + 2j * np.pi * frequency)[heard]
    samples = max(1, int(seconds * RATE))
    block = int(np.sqrt(samples)) + 1
    inner = np.exp(np.outer(rate, np.arange(block) / RATE)).astype(np.complex64)
    start = np.exp(np.outer(np.arange(-(-samples // block)) * block / RATE, rate))
    outer = (start * (amplitude * np.exp(1j * phase))[heard]).astype(np.complex64)
    return (outer.real @ inner.real - outer.imag @ inner.imag).reshape(-1)[:samples]


def oscillate(frequency: npt.NDArray, harmonics: npt.NDArray, phases: npt.NDArray | None = None) -> Signal:
    """A periodic wave whose pitch follows `frequency` (samples,), harmonic k of amplitude `harmonics[k - 1]`."""
    count = int(min(len(harmonics), 0.48 * RATE / max(float(frequency.max()), 1.0)))
    spectrum = np.zeros(TABLE // 2 + 1, dtype=np.complex128)
    turn = np.zeros(count) if phases is None else phases[:count]
    spectrum[1 : count + 1] = harmonics[:count] * np.exp(1j * (turn - np.pi / 2)) * TABLE / 2
    table = np.fft.irfft(spectrum, TABLE).astype(np.float32)
    position = (np.cumsum(frequency) / RATE % 1.0) * TABLE
    index = position.astype(np.int64)
    part = (position - index).astype(np.float32)
    return table[index % TABLE] * (1 - part) + table[(index + 1) % TABLE] * part


def coloured_noise(samples: int, rng: Rng, low: float, high: float, order: float = 2.0) -> Signal:
    """White noise through a band from `low` to `high` whose edges fall by about 6 dB an octave per order; RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples, dtype=np.float32))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 1.0).astype(np.float32)
    shape = 1 / np.sqrt((1 + (low / frequency) ** (2 * order)) * (1 + (frequency / high) ** (2 * order)))
    noise = np.fft.irfft(spectrum * shape.astype(np.float32), samples).astype(np.float32)
    return noise / (float(noise.std()) + 1e-9)


def frames_of(samples: int) -> int:
    """How many filter frames `shaped` uses for a signal of so many samples."""
    return samples // HOP + 4


def shaped(signal: Signal, gains: npt.NDArray) -> Signal:
    """A filter that moves: frame i of `gains` (frames, FRAME / 2 + 1) multiplies the spectrum around sample i HOP."""
    frames = gains.shape[0]
    padded = np.zeros((frames + 4) * HOP, dtype=np.float32)
    padded[FRAME // 2 : FRAME // 2 + len(signal)] = signal[: len(padded) - FRAME // 2]
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:frames]
    window = np.hanning(FRAME + 1)[:FRAME].astype(np.float32)
    moved = np.fft.irfft(np.fft.rfft(windows * window, axis=1) * gains.astype(np.float32), axis=1) * window
    out = np.zeros((frames + 4, HOP), dtype=np.float32)
    for part in range(FRAME // HOP):
        out[part : part + frames] += moved[:, part * HOP : (part + 1) * HOP]
    return (out.reshape(-1) / 1.5)[FRAME // 2 : FRAME // 2 + len(signal)].astype(np.float32)


def lowpass_gains(cutoff: npt.NDArray, order: float = 2.0, resonance: float = 0.0) -> npt.NDArray:
    """Gains for `shaped`: a low-pass whose cutoff (frames,) moves, with a peak of `resonance` at the cutoff."""
    ratio = FREQUENCIES[None, :] / np.asarray(cutoff, dtype=np.float32)[:, None]
    peak = resonance * np.exp(-((ratio - 1) ** 2) / 0.02)
    return 1 / np.sqrt(1 + ratio ** (2 * order)) + peak


def curve(samples: int, times: npt.NDArray, values: npt.NDArray) -> Signal:
    """Straight lines through (times in seconds, values), one value a sample."""
    return np.interp(np.arange(samples) / RATE, times, values).astype(np.float32)


def faded(signal: Signal, attack: float, release: float) -> Signal:
    """The signal with a raised-cosine attack and release, each at most half of it."""
    out = signal.copy()
    for seconds, side in ((attack, slice(None)), (release, slice(None, None, -1))):
        count = min(int(seconds * RATE), len(out) // 2)
        if count > 0:
            out[side][:count] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(count, dtype=np.float32) / count)
    return out


def wander(samples: int, rng: Rng, rate: float) -> Signal:
    """A slow random line of RMS about 1, with about `rate` turns a second: drift, jitter, human unevenness."""
    points = max(4, int(samples / RATE * rate) + 4)
    return curve(samples, np.arange(points) / rate, rng.standard_normal(points))


def unit(signal: Signal) -> Signal:
    """Scaled to a peak of 1; silence stays silence."""
    return signal / max(float(np.abs(signal).max(initial=0.0)), 1e-9)


class Strip:
    """A stereo strip that notes are added to at a time, a gain and a place between left (0) and right (1)."""

    def __init__(self, seconds: float) -> None:
        self.audio: Signal = np.zeros((2, round(seconds * RATE)), dtype=np.float32)

    def add(self, note: Signal, at: float, level: float = 1.0, pan: float = 0.5) -> None:
        start = max(0, int(at * RATE))
        length = min(len(note), self.audio.shape[1] - start)
        if length > 0:
            angle = pan * np.pi / 2
            self.audio[0, start : start + length] += np.float32(level * np.cos(angle)) * note[:length]
            self.audio[1, start : start + length] += np.float32(level * np.sin(angle)) * note[:length]


class Cached:
    """Remembers the note rendered for a pitch, so that a repeated note costs one addition."""

    def __init__(self, render: Callable[[int], Signal]) -> None:
        self.render = render
        self.notes: dict[int, Signal] = {}

    def __call__(self, midi: int) -> Signal:
        if midi not in self.notes:
            self.notes[midi] = self.render(midi)
        return self.notes[midi]
