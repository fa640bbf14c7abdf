"""The residual branch `demucs.demucs.DConv` as matrix products, its second normalisation folded into one of them.

Each of its layers is conv → GroupNorm(1) → GELU → 1x1 conv → GroupNorm(1) → GLU → scale. The second norm's
statistics follow from the covariance of the few hidden channels, so the norm and the scale become per-sample
weights of the 1x1 product, and the wide tensor is written once instead of four times.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.stretches import stretches

LAYER = ("Conv1d", "GroupNorm", "GELU", "Conv1d", "GroupNorm", "GLU", "LayerScale")


def is_plain(dconv: Any) -> bool:
    """Whether every layer of the branch is of the kind described above (no LSTM, no attention)."""
    return all(_is_plain_layer(layer) for layer in dconv.layers)


def _is_plain_layer(layer: Any) -> bool:
    if tuple(type(module).__name__ for module in layer) != LAYER:
        return False
    conv = layer[0]
    return bool(2 * conv.padding[0] == conv.dilation[0] * (conv.kernel_size[0] - 1) and conv.stride == (1,))


class FoldedDConv(nn.Module):
    """`dconv` for inputs (batch, channels, time), which it may change; same result, weights shared."""

    def __init__(self, dconv: Any) -> None:
        super().__init__()
        self.layers: Iterable[FoldedLayer] = nn.ModuleList(FoldedLayer(layer) for layer in dconv.layers)  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x plus its residuals, one layer after the other."""
        for layer in self.layers:
            layer.add_to(x)
        return x


class FoldedLayer(nn.Module):
    """One layer of the branch."""

    squeeze: torch.Tensor
    squeeze_bias: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    square: torch.Tensor
    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        conv, self.norm, _, expand, norm, _, scale = layer
        halves = torch.cat([scale.scale, torch.ones_like(scale.scale)])
        self.dilation, self.taps = conv.dilation[0], conv.kernel_size[0]
        self.eps = float(norm.eps)
        weight = expand.weight[:, :, 0].detach()
        self.register_buffer("squeeze", conv.weight.detach().permute(2, 0, 1).flatten(0, 1).contiguous())
        self.register_buffer("squeeze_bias", conv.bias.detach()[:, None].clone())
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", expand.bias.detach().clone())
        self.register_buffer("square", (weight.double().t() @ weight.double() / len(weight)).float())
        self.register_buffer("gain", (norm.weight * halves).detach())
        self.register_buffer("offset", (norm.bias * halves).detach())

    def add_to(self, x: torch.Tensor) -> None:
        """Add the residual to x (batch, channels, time)."""
        hidden = self._hidden(x)
        mean = hidden.mean(-1, keepdim=True)
        centred = hidden.new_ones(len(x), hidden.shape[1] + 1, x.shape[-1])  # below them the 1 that biases multiply
        torch.sub(hidden, mean, out=centred[:, :-1])
        weight = self._folded(mean[..., 0], centred[:, :-1])
        for part in stretches(x.shape[-1], len(x) * weight.shape[1]):
            target = x[..., part]
            target += F.glu(torch.bmm(weight, centred[..., part]), dim=1)

    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        """The hidden channels (batch, hidden, time)."""
        taps = torch.bmm(self.squeeze.expand(len(x), *self.squeeze.shape), x).chunk(self.taps, dim=1)
        middle = self.taps // 2
        total = taps[middle] + self.squeeze_bias
        for index, tap in enumerate(taps):
            shift = (index - middle) * self.dilation
            if 0 < abs(shift) < x.shape[-1]:
                shifted(total, -shift).add_(shifted(tap, shift))
        return F.gelu(self.norm(total))

    def _folded(self, mean: torch.Tensor, centred: torch.Tensor) -> torch.Tensor:
        """Weights (batch, out, hidden + 1) that include norm and scale, the last ones for the constant.

        `mean` (batch, hidden) and `centred` (batch, hidden, time) add up to the hidden channels.
        """
        covariance = torch.bmm(centred, centred.transpose(1, 2)) / centred.shape[-1]
        # In float64, which oneDNN does not take: it keeps 0.6 MB for each size of product.
        levels = (mean.double() @ self.weight.double().t()).float() + self.bias
        variance = (covariance * self.square).sum((1, 2)) + levels.var(-1, correction=0)
        factor = self.gain * torch.rsqrt(variance + self.eps)[:, None]
        constant = (levels - levels.mean(-1, keepdim=True)) * factor + self.offset
        return torch.cat([factor[..., None] * self.weight, constant[..., None]], dim=-1)


def shifted(x: torch.Tensor, by: int) -> torch.Tensor:
    """x (…, time) without its first `by` samples, or without its last ones for a negative `by`."""
    return x[..., by:] if by > 0 else x[..., :by]
