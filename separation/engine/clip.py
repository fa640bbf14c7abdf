"""Keeping samples within full scale, the three ways `demucs.audio.prevent_clip` offers.

`rescale` divides a whole stem by 1.01 times its peak when that passes 1, so it needs the peak first; `clamp`
limits each sample to ±0.99; `none` leaves samples alone (writing integers then limits them to ±1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEADROOM = 1.01
CLAMP = 0.99


def needs_peak(mode: str) -> bool:
    """Whether the mode needs a stem's peak before its first sample can be written."""
    return mode == "rescale"


def divisor(peak: float) -> np.float32:
    """What `rescale` divides a stem of this peak by."""
    return np.float32(max(np.float32(HEADROOM) * np.float32(peak), np.float32(1.0)))


def apply(mode: str, samples: NDArray[np.float32], peak: float = 0.0) -> NDArray[np.float32]:
    """The samples, made safe by `mode`; `peak` is that of the whole stem."""
    if mode == "rescale":
        return samples / divisor(peak)
    if mode == "clamp":
        return np.clip(samples, -CLAMP, CLAMP)
    return samples
