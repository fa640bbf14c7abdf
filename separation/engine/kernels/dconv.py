"""The residual branch `demucs.demucs.DConv` with its second normalisation folded into a matrix product.

Each of its layers is conv → GroupNorm(1) → GELU → 1x1 conv → GroupNorm(1) → GLU → scale. The second norm's
statistics follow from the covariance of the few hidden channels, so the norm and the scale become per-sample
weights of the 1x1 product, and the wide tensor is written once instead of four times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

LAYER = ("Conv1d", "GroupNorm", "GELU", "Conv1d", "GroupNorm", "GLU", "LayerScale")


def is_plain(dconv: Any) -> bool:
    """Whether every layer of the branch is of the kind described above (no LSTM, no attention)."""
    return all(tuple(type(module).__name__ for module in layer) == LAYER for layer in dconv.layers)


class FoldedDConv(nn.Module):
    """`dconv` for inputs (batch, channels, time); same result, weights shared."""

    def __init__(self, dconv: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FoldedLayer(layer) for layer in dconv.layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x plus its residuals, one layer after the other."""
        for layer in self.layers:
            x = x + layer(x)
        return x


class FoldedLayer(nn.Module):
    """One layer of the branch."""

    weight: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.squeeze, self.norm, _, expand, norm, _, scale = layer
        halves = torch.cat([scale.scale, torch.ones_like(scale.scale)])
        self.eps = float(norm.eps)
        self.register_buffer("weight", expand.weight[:, :, 0].detach().clone())
        self.register_buffer("bias", expand.bias.detach().clone())
        self.register_buffer("gain", (norm.weight * halves).detach())
        self.register_buffer("offset", (norm.bias * halves).detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The residual for x (batch, channels, time)."""
        hidden = F.gelu(self.norm(self.squeeze(x)))
        weight, bias = self._folded(hidden)
        return F.glu(torch.baddbmm(bias, weight, hidden), dim=1)

    def _folded(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (batch, out, hidden) and biases (batch, out, 1) that include norm and scale."""
        mean = hidden.mean(-1, keepdim=True)
        centred = hidden - mean
        covariance = centred @ centred.transpose(1, 2) / hidden.shape[-1]
        levels = (self.weight @ mean).squeeze(-1) + self.bias
        spread = ((self.weight @ covariance) * self.weight).sum(-1)
        centre = levels.mean(-1, keepdim=True)
        variance = spread.mean(-1, keepdim=True) + (levels - centre).square().mean(-1, keepdim=True)
        factor = self.gain * torch.rsqrt(variance + self.eps)
        return factor[..., None] * self.weight, ((self.bias - centre) * factor + self.offset)[..., None]
