"""What a studio does to a stem: equalisation, room, chorus, drive, width, level."""

import numpy as np

from separation.starter.synthesis.signal import RATE, Rng, Signal, coloured_noise, gain, log_uniform

SPREAD = 2.0  # dB; how far mixes differ in the level they give one part


def _fft_length(samples: int) -> int:
    return 1 << (samples - 1).bit_length()


def treated(rng: Rng, audio: Signal, stem: str) -> Signal:
    """(2, samples) through one spectral curve and, but for the bass, mostly one room; DC removed."""
    return in_room(rng, audio, 0.0 if stem == "bass" else 0.75, -12 if stem == "drums" else -9)


def in_room(rng: Rng, audio: Signal, chance: float, loudest: float) -> Signal:
    """(2, samples) through one spectral curve and perhaps one room of at most `loudest` dB; DC removed."""
    samples = audio.shape[1]
    size = _fft_length(samples + RATE)
    spectrum = np.fft.rfft(audio, size)
    spectrum *= equaliser(rng, size)
    if chance > 0 and rng.random() < chance:
        wet = np.fft.rfft(room(rng, log_uniform(rng, 0.15, 1.6)), size)
        spectrum = spectrum + spectrum * wet * gain(rng.uniform(-30, loudest))
    out = np.fft.irfft(spectrum, size)[:, :samples]
    return (out - out.mean(axis=1, keepdims=True)).astype(np.float32)


def equaliser(rng: Rng, size: int) -> Signal:
    """A tilt and up to three broad bells, as gains over the bins; nothing below 20 Hz."""
    frequency = np.fft.rfftfreq(size, 1 / RATE) + 1e-3
    octave = np.log2(frequency / 1000)
    decibels = rng.normal(0, 0.7) * np.clip(octave, -6, 5)
    for _ in range(int(rng.integers(0, 4))):
        decibels = decibels + rng.normal(0, 4) * np.exp(-(((octave - rng.uniform(-4, 4)) / rng.uniform(0.3, 1.2)) ** 2))
    return (10 ** (decibels / 20) / np.sqrt(1 + (20 / frequency) ** 4)).astype(np.float32)


def room(rng: Rng, seconds: float) -> Signal:
    """An impulse response, (2, samples): early echoes and a decaying diffuse tail, different left and right."""
    samples = int(min(seconds, 0.95) * RATE)
    time = np.arange(samples, dtype=np.float32) / RATE
    tail = np.stack([coloured_noise(samples, rng, 150, rng.uniform(2500, 9000), 1) for _ in range(2)])
    tail *= np.exp(-6.9 * time / seconds)
    tail[:, : int(rng.uniform(0, 0.04) * RATE)] = 0
    for _ in range(int(rng.integers(2, 8))):
        at = int(rng.uniform(0.004, 0.06) * RATE)
        tail[int(rng.integers(2)), min(at, samples - 1)] += rng.normal(0, 8)
    return (tail / (np.sqrt((tail**2).sum(axis=1, keepdims=True)) + 1e-6)).astype(np.float32)


def chorused(rng: Rng, audio: Signal) -> Signal:
    """(2, samples) with a copy whose delay swings, differently left and right."""
    samples = audio.shape[1]
    time = np.arange(samples, dtype=np.float32) / RATE
    middle, depth, rate = rng.uniform(0.006, 0.025), rng.uniform(0.0005, 0.003), rng.uniform(0.2, 1.5)
    out = audio.copy()
    for side, phase in zip(out, rng.uniform(0, 2 * np.pi, 2), strict=True):
        at = np.arange(samples) - RATE * (middle + depth * np.sin(2 * np.pi * rate * time + phase))
        side += np.float32(rng.uniform(0.2, 0.7)) * np.interp(at, np.arange(samples), side, left=0).astype(np.float32)
    return out


def driven(rng: Rng, audio: Signal) -> Signal:
    """(2, samples) through a soft clipper, as loud as before."""
    level, peak = float(np.sqrt((audio**2).mean())), float(np.abs(audio).max())
    if peak == 0:
        return audio
    out = np.tanh(audio * np.float32(log_uniform(rng, 0.5, 5) / peak))
    return out * np.float32(level / (float(np.sqrt((out**2).mean())) + 1e-9))


def widened(rng: Rng, audio: Signal) -> Signal:
    """(2, samples) narrower or wider."""
    middle = audio.mean(axis=0)
    return middle + np.float32(rng.uniform(0, 1.5)) * (audio - middle)


def levelled(rng: Rng, audio: Signal, decibels: float) -> Signal:
    """Scaled so that its loudness is about `decibels` full scale; silence stays silence."""
    level = loudness(audio)
    return audio * np.float32(gain(decibels + rng.normal(0, SPREAD)) / level) if level > 1e-6 else audio


def loudness(audio: Signal) -> float:
    """RMS over the blocks that sound, gated as in ITU-R BS.1770-5, annex 1, but without its frequency weighting.

    A part's gaps between notes count, its rests do not: a mixing engineer balances what plays, not single samples.
    """
    block = min(round(0.4 * RATE), audio.shape[1])
    count = audio.shape[1] // block
    power = (audio[:, : count * block].reshape(2, count, block) ** 2).mean(axis=(0, 2))
    heard = power > 0.1 * float(power[power > 1e-7 * float(power.max())].mean()) if power.max() > 0 else power > 0
    return float(np.sqrt(power[heard].mean())) if heard.any() else 0.0
