"""The shift trick: the same track seen from several starting points, and where each of them begins.

`demucs.apply.apply_model` pads the track by half a second on both sides, starts at a random offset into that
padding, and averages. Owns those offsets. A pass is described by its `lead`: the zeros before the track.
"""

from __future__ import annotations

import random

MAX_SHIFT_SECONDS = 0.5


def max_shift(sample_rate: int) -> int:
    """The largest offset, in samples; `int(0.5 * samplerate)` as Demucs has it."""
    return int(MAX_SHIFT_SECONDS * sample_rate)


def draw_offsets(networks: int, shifts: int, sample_rate: int, seed: int) -> list[list[int]]:
    """One list of `shifts` offsets for each network, repeatable by `seed`.

    Each network has its own, as in Demucs. They are drawn in the order in which Demucs draws them, from the
    generator it uses: `random.seed(seed)` before `apply_model` gives the same ones, as long as nothing else draws.
    Demucs's transformers do, once a segment (a number from range(1)): with them only the first offset is the same.
    """
    generator = random.Random(seed)
    limit = max_shift(sample_rate)
    return [[generator.randint(0, limit) for _ in range(shifts)] for _ in range(networks)]


def leads(offsets: list[int], sample_rate: int) -> list[int]:
    """Zeros before the track in each pass; a single pass with none when there are no shifts."""
    return [max_shift(sample_rate) - offset for offset in offsets] or [0]
