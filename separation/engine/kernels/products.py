"""Matrix products over stacks of rows: each stack of (rows, channels, time) is one matrix, and one weight takes all.

Owns how such a product is put to the library, and views of stacks. What a layer does with them is `rows`'s.
"""

from __future__ import annotations

import torch

LARGE_WEIGHT = 2**12
"""Values of a matrix from which on a product of many calls is faster than of one, which copies windows and weight for
each of them."""


def windows(x: torch.Tensor, height: int, step: int) -> torch.Tensor:
    """Every `step`-th stack of `height` rows of contiguous (rows, channels, time), as a view (stacks, height x
    channels, time)."""
    rows, channels, frames = x.shape
    count = (rows - height) // step + 1
    return x.as_strided((count, height * channels, frames), (step * channels * frames, frames, 1))


def multiply(weight: torch.Tensor, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`weight` (made, taken) times each of x (n, taken, time), in the weight's precision, plus `bias` (made, 1) in
    float32."""
    if weight.numel() < LARGE_WEIGHT:
        return torch.bmm(weight.expand(len(x), *weight.shape), x).float().add_(bias)
    out = x.new_empty(len(x), len(weight), x.shape[-1])
    for given, made in zip(x, out, strict=True):
        torch.mm(weight, given, out=made)
    return out.float().add_(bias)
