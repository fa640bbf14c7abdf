"""Loading the starter by itself, for evaluation and tests. The checks are the engine's: a checksum, a known class."""

from dataclasses import replace
from pathlib import Path

from demucs.htdemucs import HTDemucs

from separation.catalog import STARTER
from separation.engine.loading import load_network, open_bag
from separation.starter.network import build, grown


def load_starter(folder: Path | None = None) -> HTDemucs:
    """The bundled network, or the one exported to `folder`, in float32 and ready to run.

    Raises `EngineError` (model_unavailable), naming the file, when it is missing, altered, without its metadata, or
    of a class that is not demucs's.
    """
    bag = open_bag(STARTER, Path())
    network: HTDemucs = load_network(bag if folder is None else replace(bag, folder=folder), STARTER)
    return network


def first_network(folder: Path | None, waveform: Path | None = None) -> HTDemucs:
    """What training begins with: the weights in `folder`, or an untrained network.

    Weights of a network of another size are grown into the present one; with `waveform`, that branch's come from
    there. Raises as `load_starter`, and ValueError when only `waveform` is given or nothing of one's weights fits.
    """
    if folder is None:
        if waveform is not None:
            raise ValueError("A waveform branch alone is not enough to begin with: give --from too")
        return build()
    return grown(load_starter(folder), None if waveform is None else load_starter(waveform))
