"""A song: the four stems of one plan, treated and balanced, from one seed. Their sum is the mixture."""

import numpy as np

from separation.starter.synthesis import bass, drums, other, vocals
from separation.starter.synthesis.harmony import make_plan
from separation.starter.synthesis.palette import TRAINING, Palette
from separation.starter.synthesis.signal import RATE, Signal
from separation.starter.synthesis.space import levelled, treated

STEMS = ("drums", "bass", "other", "vocals")
RENDERERS = {"drums": drums.render, "bass": bass.render, "other": other.render, "vocals": vocals.render}
LEVELS = {"drums": -18.0, "bass": -18.0, "other": -19.0, "vocals": -18.0}


def synthesise(seed: int, seconds: float, palette: Palette = TRAINING, full: bool = False) -> Signal:
    """The stems of the song of a seed, (4, 2, samples) in the order of `STEMS`, without DC."""
    rng = np.random.default_rng(seed)
    plan = make_plan(rng, seconds, full)
    out = np.zeros((4, 2, round(seconds * RATE)), np.float32)
    for index, name in enumerate(STEMS):
        own = np.random.default_rng([seed, index])
        audio = RENDERERS[name](own, plan, palette)
        if np.abs(audio).max() > 0:
            out[index] = levelled(own, treated(own, audio[:, : out.shape[2]], name), LEVELS[name])
    peak = float(np.abs(out.sum(axis=0)).max(initial=0.0))
    return out * np.float32(min(1.0, 0.95 / peak) if peak > 0 else 1.0)
