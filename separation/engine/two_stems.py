"""What is written: each output as a weighted sum of a model's sources and, perhaps, the mixture.

Owns the meaning of "two stems": the complement is the sum of all other sources, as Demucs's `--other-method add`,
except for models with one network per stem, where it is the mixture minus the stem (`minus`): that needs one
network instead of all. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from separation.options import SeparationOptions


@dataclass(frozen=True)
class Output:
    """One output: `sources[i]` times source i, summed, plus `mixture` times the mixture."""

    name: str
    sources: tuple[float, ...]
    mixture: float = 0.0


def plan_outputs(sources: Sequence[str], options: SeparationOptions, *, one_network_per_source: bool) -> list[Output]:
    """The outputs that the options ask for, in order."""
    if options.two_stems is None:
        return [Output(stem, _only(sources, stem)) for stem in options.stems]
    stem = options.two_stems
    wanted = Output(stem, _only(sources, stem))
    if one_network_per_source:
        rest = Output(f"no_{stem}", tuple(-x for x in wanted.sources), mixture=1.0)
    else:
        rest = Output(f"no_{stem}", tuple(1.0 - x for x in wanted.sources))
    return [wanted, rest]


def _only(sources: Sequence[str], stem: str) -> tuple[float, ...]:
    return tuple(float(source == stem) for source in sources)


def network_mixing(outputs: Sequence[Output], weights: Sequence[float], totals: Sequence[float]) -> list[list[float]]:
    """How much of each output comes from each source of one network of a bag.

    `weights` are the network's, `totals` their sums over the bag: Demucs divides the weighted sum by them.
    """
    return [
        [
            factor * weight / total if total else 0.0
            for factor, weight, total in zip(output.sources, weights, totals, strict=True)
        ]
        for output in outputs
    ]


def contributes(mixing: Sequence[Sequence[float]]) -> bool:
    """Whether a network with this mixing gives anything to any output; if not it need never run."""
    return any(any(row) for row in mixing)
