"""The mean of the weights of several trainings that began from each other (Wortsman et al. 2022, model soups).

    python -m separation.starter.averaging OUT FOLDER=SHARE FOLDER=SHARE…

Owns that mean: what each training left of its last steps' noise cancels out. Which shares are best is for whoever
measures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from separation.engine.errors import EngineError
from separation.starter.export import export
from separation.starter.loading import load_starter

Part = tuple[Path, float]


def mean_of(parts: Sequence[Part]) -> dict[str, torch.Tensor]:
    """The state dict whose tensors are the means of those in the folders, weighed by shares of any sum.

    Raises `EngineError` for weights that cannot be loaded.
    """
    total = sum(share for _, share in parts)
    states = [(load_starter(folder).state_dict(), share / total) for folder, share in parts]
    return {name: torch.stack([state[name] * share for state, share in states]).sum(dim=0) for name in states[0][0]}


def part(text: str) -> Part:
    """`FOLDER=SHARE`, read. Raises `argparse.ArgumentTypeError`."""
    folder, _, share = text.rpartition("=")
    try:
        read = Path(folder), float(share)
    except ValueError:
        read = Path(), 0.0
    if not folder or not 0 < read[1] < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder, an equals sign and a share above 0")
    return read


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="averaging", description="Average the starter weights of several folders.")
    parser.add_argument("out", type=Path, help="folder for the mean")
    parser.add_argument("parts", type=part, nargs="+", metavar="FOLDER=SHARE")
    given = parser.parse_args(argv)
    try:
        print(f"Wrote {export(mean_of(given.parts), given.out)}")  # noqa: T201
    except (EngineError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
