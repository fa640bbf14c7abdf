"""Layers of the frequency branch, computed a few frequency rows at a time.

Convolutions there reach one row beyond their own (or stride over rows), everything else works row by row: its
residual branch folds frequency into the batch. So tiles with halos give the same result while their
intermediates stay in the cache instead of passing through 33 to 66 MB of fresh memory at every step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.half import TileConv

TILE_BYTES = 2 * 1024**2


def tile_rows(channels: int, frames: int, rows: int) -> int:
    """Rows a tile takes so that its widest intermediate (2 x channels) stays within `TILE_BYTES`."""
    return max(1, min(rows, TILE_BYTES // (8 * channels * frames)))


def rows_with_halo(x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Rows start..stop of (batch, channels, rows, time), zeros where there are none."""
    rows = x.shape[2]
    inside = x[:, :, max(0, start) : min(rows, stop)]
    before, after = max(0, -start), max(0, stop - rows)
    return F.pad(inside, (0, 0, before, after)) if before or after else inside


class _RowWise(nn.Module):
    """What both kinds of layer share: the residual branch on rows as a batch."""

    dconv: Any

    def _residual(self, y: torch.Tensor) -> torch.Tensor:
        """The branch applied to (batch, channels, rows, time), given back as (batch * rows, channels, time)."""
        batch, channels, rows, frames = y.shape
        y = y.transpose(1, 2).reshape(batch * rows, channels, frames)
        return self.dconv(y) if self.dconv is not None else y


def can_tile_encoder(layer: Any) -> bool:
    """Whether the layer is a padded frequency layer without norms that span rows."""
    plain = type(layer).__name__ == "HEncLayer" and layer.freq and not layer.empty and not layer.norm
    return bool(plain and layer.pad and layer.rewrite is not None and layer.rewrite.kernel_size == (1, 1))


class TiledEncoder(_RowWise):
    """`demucs.hdemucs.HEncLayer` of the frequency branch."""

    empty = False

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.conv = TileConv(layer.conv.weight, layer.conv.bias, stride=layer.conv.stride)
        self.rewrite = TileConv(layer.rewrite.weight, layer.rewrite.bias)
        self.dconv = layer.dconv
        self.pad, self.stride, self.kernel = layer.pad, layer.stride, layer.kernel_size

    def forward(self, x: torch.Tensor, inject: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, channels, rows, time) to (batch, channels out, rows / stride, time)."""
        batch, _, rows, frames = x.shape
        rows_out = (rows + 2 * self.pad - self.kernel) // self.stride + 1
        channels = len(self.conv.bias)
        out = x.new_empty(batch, channels, rows_out, frames)
        step = tile_rows(channels, frames, rows_out)
        for first in range(0, rows_out, step):
            last = min(first + step, rows_out)
            tile = self._tile(x, first, last, inject)
            out[:, :, first:last] = tile.view(batch, last - first, channels, frames).transpose(1, 2)
        return out

    def _tile(self, x: torch.Tensor, first: int, last: int, inject: torch.Tensor | None) -> torch.Tensor:
        start = first * self.stride - self.pad
        taken = rows_with_halo(x, start, (last - 1) * self.stride - self.pad + self.kernel)
        y = self.conv(taken)
        if inject is not None:
            y = y + (inject[:, :, None] if inject.dim() == 3 else inject[:, :, first:last])
        y = self._residual(F.gelu(y))
        return F.glu(self.rewrite(y[:, :, None]), dim=1)[:, :, 0]


def can_tile_decoder(layer: Any) -> bool:
    """Whether the layer is a padded frequency layer without norms, stretching rows by half its kernel."""
    plain = type(layer).__name__ == "HDecLayer" and layer.freq and not layer.empty and not layer.norm
    return bool(
        plain
        and layer.pad
        and layer.rewrite is not None
        and layer.context_freq
        and layer.kernel_size == 2 * layer.stride
    )


class TiledDecoder(_RowWise):
    """`demucs.hdemucs.HDecLayer` of the frequency branch.

    The transposed convolution (kernel twice the stride) is computed by phase: output row stride * m + r depends
    on rows m and m - 1 only, so it is an ordinary convolution of height 2 with stride x channels outputs.
    """

    empty = False

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.rewrite = TileConv(layer.rewrite.weight, layer.rewrite.bias, padding=(0, layer.rewrite.padding[1]))
        self.dconv, self.last = layer.dconv, layer.last
        self.pad, self.stride = layer.pad, layer.stride
        weight = layer.conv_tr.weight[..., 0].detach()  # (in, out, kernel)
        here, before = weight[..., : self.stride], weight[..., self.stride :]
        phases = torch.stack([before, here], -1).permute(2, 1, 0, 3)  # (phase, out, in, 2)
        self.channels = weight.shape[1]
        stretch = phases.reshape(-1, weight.shape[0], 2, 1).contiguous()
        self.stretch = TileConv(stretch, layer.conv_tr.bias.detach().repeat(self.stride))

    def forward(self, x: torch.Tensor, skip: torch.Tensor, _length: int | None) -> tuple[torch.Tensor, None]:
        """(batch, channels, rows, time) to (batch, channels out, rows * stride, time)."""
        batch, width, rows, frames = x.shape
        total = rows * self.stride
        out = x.new_empty(batch, self.channels, total, frames)
        before = x.new_zeros(batch, width, 1, frames)
        step = tile_rows(width, frames, rows)
        for first in range(0, rows, step):
            last = first + step if first + step < rows else rows + 1  # past the end: the last row's second half
            y = torch.cat([before, self._tile(x, skip, first, last)], dim=2)
            before = y[:, :, -1:]
            z = self._stretch(y)
            start = first * self.stride - self.pad
            cut = max(0, -start)
            keep = min(z.shape[2], total - start)
            out[:, :, start + cut : start + keep] = z[:, :, cut:keep]
        return out, None

    def _tile(self, x: torch.Tensor, skip: torch.Tensor, first: int, last: int) -> torch.Tensor:
        rows = x.shape[2]
        stop = min(last, rows)
        taken = rows_with_halo(x, first - 1, stop + 1) + rows_with_halo(skip, first - 1, stop + 1)
        y = F.glu(self.rewrite(taken), dim=1)
        if self.dconv is not None:
            batch, channels, height, frames = y.shape
            y = self._residual(y).view(batch, height, channels, frames).transpose(1, 2)
        return F.pad(y, (0, 0, 0, last - stop)) if last > stop else y

    def _stretch(self, y: torch.Tensor) -> torch.Tensor:
        z = self.stretch(y)
        batch, _, rows, frames = z.shape
        z = z.view(batch, self.stride, self.channels, rows, frames).permute(0, 2, 3, 1, 4)
        z = z.reshape(batch, self.channels, rows * self.stride, frames)
        return z if self.last else F.gelu(z)
