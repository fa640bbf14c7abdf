"""Convolutions over neighbouring rows of (rows, width, time), by plain products or by fewer combined ones.

Owns the choice, and the plain kind. The other is `winograd`'s.
"""

from __future__ import annotations

import torch
from torch import nn

from separation.engine.kernels.products import multiply, windows
from separation.engine.kernels.winograd import RowFilter

WORTH = 2**14
"""Values of a weight from which on combining rows costs less than the products it saves."""


class PlainFilter(nn.Module):
    """`weight` (out, taps, width) over stacks of `taps` rows, in `dtype`, plus `bias` (out, 1) in float32."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.taps = weight.shape[1]
        self.register_buffer("weight", weight.flatten(1).to(dtype).contiguous())
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows + taps - 1, width, time) to (rows, out, time), in float32."""
        return multiply(self.weight, windows(x, self.taps, 1), self.bias)


def row_filter(weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> PlainFilter | RowFilter:
    """The faster kind for `weight` (out, taps, width) and `bias` (out, 1)."""
    combined = dtype == torch.float32 and weight.shape[1] > 1 and weight.numel() >= WORTH
    return RowFilter(weight, bias) if combined else PlainFilter(weight, bias, dtype)
