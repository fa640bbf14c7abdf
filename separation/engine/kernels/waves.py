"""Layers of the waveform branch as matrix products over stretches of time.

A convolution of few channels over many samples is limited by memory: the library writes 16 to 31 MB at each step and
reads them again at the next. Here a stretch passes through product, bias and gate, or product and interleaving, while
it is in the cache; what is written once is the layer's result. Float32 only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.crew import divided
from separation.engine.kernels.dconv import FoldedDConv
from separation.engine.kernels.stretches import equal_parts

STRETCH = 4096
"""Samples computed at a time."""


def _stretched(x: torch.Tensor, start: int, stop: int, taps: int) -> torch.Tensor:
    """What products over `taps` neighbours take of x (channels, time), (channels x taps, stop - start).

    The first sees x from `start` on. Zeros where x has ended, or not begun.
    """
    end = stop + taps - 1
    inside = x[:, max(0, start) : min(x.shape[1], end)]
    before, after = max(0, -start), max(0, end - x.shape[1])
    taken = F.pad(inside, (before, after)) if before or after else inside
    return taken.unfold(1, stop - start, 1).reshape(-1, stop - start)


class _Waves(nn.Module):
    """What both kinds of layer share: the rewriting product with its gate, and the residual branch."""

    empty = False
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.dconv: FoldedDConv | None = layer.dconv
        self.stride = layer.stride
        self.taps = layer.rewrite.kernel_size[0]
        self.register_buffer("weight", layer.rewrite.weight.detach().flatten(1))
        self.register_buffer("bias", layer.rewrite.bias.detach()[:, None])

    def _rewrite(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """The convolution of x (channels, time) and its gate into `out`; which may be x if there is one tap."""

        def fill(begin: int, end: int) -> None:
            for part in equal_parts(begin, end, STRETCH):
                taken = _stretched(x, part.start - self.taps // 2, part.stop - self.taps // 2, self.taps)
                out[:, part] = F.glu(torch.addmm(self.bias, self.weight, taken), dim=0)

        divided(fill, x.shape[1], STRETCH)


def can_squeeze(layer: Any) -> bool:
    """Whether the layer is one of the waveform branch without norms."""
    return _can_use(layer, "HEncLayer", "norm1", "norm2") and layer.rewrite.kernel_size == (1,)


def _can_use(layer: Any, kind: str, *norms: str) -> bool:
    if type(layer).__name__ != kind or layer.freq or layer.empty or layer.rewrite is None:
        return False
    plain = all(type(getattr(layer, name)) is nn.Identity for name in norms)
    return plain and isinstance(layer.dconv, FoldedDConv | None)


class WaveEncoder(_Waves):
    """`demucs.hdemucs.HEncLayer` of the waveform branch, its residual branch folded."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.conv = layer.conv

    def forward(self, x: torch.Tensor, _inject: None = None) -> torch.Tensor:
        """(batch, channels, n) to (batch, channels out, ⌈n / stride⌉)."""
        missing = -x.shape[-1] % self.stride
        y = self.conv(F.pad(x, (0, missing)) if missing else x)
        torch.ops.aten.gelu_(y)
        if self.dconv is not None:
            y = self.dconv(y)
        for item in y:
            self._rewrite(item, item)
        return y


def can_stretch(layer: Any) -> bool:
    """Whether the layer is one of the waveform branch without norms, stretching time by half its kernel."""
    return _can_use(layer, "HDecLayer", "norm1", "norm2") and layer.kernel_size == 2 * layer.stride


class WaveDecoder(_Waves):
    """`demucs.hdemucs.HDecLayer` of the waveform branch, its residual branch folded.

    The transposed convolution (kernel twice the stride) is computed by phase: sample stride * m + r depends on m and
    m - 1 only.
    """

    stretch: torch.Tensor
    stretch_bias: torch.Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.pad, self.last = layer.pad, layer.last
        kernel = layer.conv_tr.weight.detach()  # (in, out, kernel)
        self.channels = kernel.shape[1]
        here, before = kernel[..., : self.stride], kernel[..., self.stride :]
        phases = torch.stack([before, here], dim=1).permute(2, 3, 0, 1)  # (out, phase, in, 2)
        self.register_buffer("stretch", phases.flatten(2).flatten(0, 1).contiguous())
        self.register_buffer("stretch_bias", layer.conv_tr.bias.detach().repeat_interleave(self.stride)[:, None])

    def forward(self, x: torch.Tensor, skip: torch.Tensor, length: int) -> tuple[torch.Tensor, None]:
        """(batch, channels, n) to (batch, channels out, `length`). The sum of `x` and `skip` is left in `skip`."""
        skip += x
        out = skip.new_empty(len(skip), self.channels, length)
        for item, made in zip(skip, out, strict=True):
            y = torch.empty_like(item)
            self._rewrite(item, y)
            if self.dconv is not None:
                self.dconv(y[None])
            self._stretch_to(made, y)
        return out, None

    def _stretch_to(self, out: torch.Tensor, y: torch.Tensor) -> None:
        """Stretch y (channels, n) to `out` (channels out, length), which begins `pad` samples after it."""

        def fill(begin: int, end: int) -> None:
            for part in equal_parts(begin, end, STRETCH):
                taken = _stretched(y, part.start - 1, part.stop - 1, 2)
                made = torch.addmm(self.stretch_bias, self.stretch, taken)
                made = made if self.last else F.gelu(made)
                start = part.start * self.stride - self.pad
                cut, keep = max(0, -start), min(made.shape[1] * self.stride, out.shape[1] - start)
                if cut < keep:
                    z = made.view(self.channels, self.stride, -1).transpose(1, 2).flatten(1)
                    out[:, start + cut : start + keep] = z[:, cut:keep]

        divided(fill, y.shape[1] + 1, STRETCH)
