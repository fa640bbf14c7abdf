"""Convolutions in bfloat16: weights cast once, input cast on the way in, result given back in float32.

Which layers are worth it and which must stay in float32 is `install`'s to know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

HALF = torch.bfloat16
KINDS = ("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d")


class TileConv(nn.Module):
    """A 2-d convolution on tiles of frequency rows, which bring their own rows of padding."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, stride: Any = 1, padding: Any = 0) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())
        self.stride, self.padding = stride, padding

    def halve(self) -> None:
        """From now on in bfloat16."""
        self.weight, self.bias = self.weight.to(HALF), self.bias.to(HALF)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, rows, time), float32 in and out."""
        y = F.conv2d(x.to(self.weight.dtype), self.weight, self.bias, self.stride, self.padding)
        return y.float()


class HalfConv(nn.Module):
    """Any of torch's convolutions, in bfloat16."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.conv = conv.to(HALF)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the convolution, float32 in and out."""
        return self.conv(x.to(HALF)).float()


def halve_attribute(owner: Any, name: str) -> int:
    """Replace the convolution `owner.name`, if it is one, by its bfloat16 version; 1 if it was."""
    conv = getattr(owner, name, None)
    if isinstance(conv, TileConv):
        conv.halve()
        return 1
    if type(conv).__name__ in KINDS:
        setattr(owner, name, HalfConv(conv))
        return 1
    return 0
