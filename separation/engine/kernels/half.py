"""Convolutions in bfloat16: weights cast once, input cast on the way in, result given back in float32.

Which layers are worth it and which must stay in float32 is `install`'s to know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HALF = torch.bfloat16
KINDS = ("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d")


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
    if type(conv).__name__ in KINDS:
        setattr(owner, name, HalfConv(conv))
        return 1
    return 0
