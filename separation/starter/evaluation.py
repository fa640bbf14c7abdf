"""Measuring: SI-SDR and SDR of each stem on songs the training never made, against the mixture as the estimate.

Owns the metrics, the sets of songs and the table. Three disjoint ranges of seeds: training (`data.FIRST_SEED`),
validation (for choices) and acceptance (for the figures in the card, never for a choice).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from demucs.apply import apply_model
from torch import nn

from separation.starter.data import dispersed
from separation.starter.synthesis import STEMS, TRAINING, WITHHELD, synthesise
from separation.starter.synthesis.palette import Palette
from separation.starter.synthesis.signal import Signal

VALIDATION, ACCEPTANCE = 1_000_000, 2_000_000
SETS: dict[str, tuple[int, Palette]] = {
    "acceptance": (ACCEPTANCE, TRAINING),
    "withheld": (ACCEPTANCE + 500_000, WITHHELD),
    "validation": (VALIDATION, TRAINING),
}
SILENCE = 1e-4  # RMS below which a stem has no figure
Separate = Callable[[Signal], Signal]


@dataclass(frozen=True)
class Row:
    """One stem's mean figures over the songs it sounds in, in dB; `error` is the standard error of the gain.

    With so few songs it says how far the mean of others of the kind may be from this one.
    """

    stem: str
    songs: int
    si_sdr: float
    sdr: float
    mixture_si_sdr: float
    mixture_sdr: float
    error: float

    @property
    def gain(self) -> float:
        return self.si_sdr - self.mixture_si_sdr


def si_sdr(estimate: Signal, reference: Signal) -> float:
    """Scale-invariant SDR in dB (Le Roux et al., 2019, eq. 3), over both channels together."""
    scale = float((estimate * reference).sum() / (reference**2).sum())
    return _ratio(scale * reference, estimate - scale * reference)


def sdr(estimate: Signal, reference: Signal) -> float:
    """10 log10(|s|² / |s - ŝ|²) in dB, as in the Music Demixing Challenge 2021."""
    return _ratio(reference, estimate - reference)


def _ratio(signal: Signal, error: Signal) -> float:
    return float(10 * np.log10((np.square(signal, dtype=np.float64).sum() + 1e-12) / ((error**2).sum() + 1e-12)))


def separator(network: nn.Module) -> Separate:
    """(2, samples) to (4, 2, samples) the way Demucs does it: normalised, in segments that overlap by a quarter."""

    def separate(mixture: Signal) -> Signal:
        audio = torch.from_numpy(mixture)
        mean, deviation = audio.mean(), audio.mean(0).std() + 1e-8
        with torch.no_grad():
            stems = apply_model(network, ((audio - mean) / deviation)[None], overlap=0.25)[0]
        return (stems * deviation + mean).numpy()

    return separate


def songs(name: str, count: int, seconds: float) -> Iterator[Signal]:
    """The stems of each song of a set, (4, 2, samples)."""
    first, palette = SETS[name]
    return (synthesise(first + i, seconds, palette, full=True) for i in range(count))


def with_other_phases(material: Iterable[Signal]) -> Iterator[Signal]:
    """The same songs, each stem dispersed: what a network loses on them it had heard by the synthesis's phases."""
    rng = np.random.default_rng(0)
    return (np.stack([dispersed(rng, stem) for stem in stems]) for stems in material)


def evaluate(separate: Separate, material: Iterable[Signal]) -> list[Row]:
    """One row a stem, in the order of `STEMS`, over songs given as stems (4, 2, samples)."""
    return compare((separate(stems.sum(axis=0)), stems) for stems in material)


def compare(songs: Iterable[tuple[Signal, Signal]]) -> list[Row]:
    """As `evaluate`, over pairs of estimates and stems."""
    figures: list[list[tuple[float, ...]]] = [[] for _ in STEMS]
    for estimates, stems in songs:
        mixture = stems.sum(axis=0)
        for index, estimate in enumerate(estimates):
            if float(np.sqrt((stems[index] ** 2).mean())) > SILENCE:
                pairs = ((estimate, stems[index]), (mixture, stems[index]))
                figures[index].append(tuple(metric(*pair) for pair in pairs for metric in (si_sdr, sdr)))
    return [_row(stem, found) for stem, found in zip(STEMS, figures, strict=True) if found]


def _row(stem: str, found: list[tuple[float, ...]]) -> Row:
    ours, ours_sdr, mixture, mixture_sdr = (float(np.mean(column)) for column in zip(*found, strict=True))
    error = _standard_error([song[0] - song[2] for song in found])
    return Row(stem, len(found), ours, ours_sdr, mixture, mixture_sdr, error)


def _standard_error(values: list[float]) -> float:
    """Of the mean of `values`; nan when one value says nothing about it."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def table(rows: list[Row]) -> str:
    """The rows as text, with the mean gain below."""
    lines = ["stem     songs  SI-SDR     SDR  mixture SI-SDR  mixture SDR   gain     ±"]
    for row in rows:
        ours = f"{row.stem:<8} {row.songs:>5} {row.si_sdr:>7.1f} {row.sdr:>7.1f}"
        lines.append(f"{ours} {row.mixture_si_sdr:>15.1f} {row.mixture_sdr:>12.1f} {row.gain:>6.1f} {row.error:>5.1f}")
    mean = float(np.mean([row.gain for row in rows])) if rows else float("nan")
    return "\n".join([*lines, f"mean SI-SDR gain over the mixture: {mean:.1f} dB"])
