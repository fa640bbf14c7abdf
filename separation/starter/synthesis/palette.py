"""Which instrument kinds and voices a song may draw from. Owns the split between training and withheld ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Kinds by family, and the ranges (low, high) that a singer's formants are scaled from."""

    kicks: tuple[str, ...]
    snares: tuple[str, ...]
    cymbals: tuple[str, ...]
    basses: tuple[str, ...]
    others: tuple[str, ...]
    formants: tuple[tuple[float, float], ...]


TRAINING = Palette(
    kicks=("acoustic", "electronic", "deep"),
    snares=("acoustic", "noise", "rim", "clap"),
    cymbals=("noise", "metal", "dull"),
    basses=("sub", "saw", "square", "picked", "upright", "reese", "driven"),
    others=(
        *("pad", "organ", "piano", "electric_piano", "guitar", "strings", "brass", "bells", "marimba", "clavinet"),
        *("synth_lead", "power_chords", "square_arpeggio", "harp", "stab", "drone"),
    ),
    formants=((0.82, 0.98), (1.04, 1.24)),
)

# Never heard in training: what the network makes of them says how far it goes beyond its own generator's parameters.
WITHHELD = Palette(
    kicks=("boom",),
    snares=("brush",),
    cymbals=("tambourine",),
    basses=("fm", "slap"),
    others=("flute", "accordion", "sitar", "glass"),
    formants=((0.72, 0.79), (0.99, 1.03), (1.28, 1.4)),
)
