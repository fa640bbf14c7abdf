"""Layers of the frequency branch as matrix products over frequency rows.

In memory (rows, channels, time), rows that follow one another are one matrix of (rows x channels, time). So a
convolution over rows is a product with a view of its input (`filters`), a transposed one (kernel twice the stride)
writes its output rows where they belong, the residual branch sees rows as its batch, and nothing is reordered.
A few rows are computed at a time: the intermediates stay in the cache instead of passing through 33 to 66 MB of
fresh memory at every step. Tensors keep Demucs's shape (batch, channels, rows, time) outside; only their strides
differ. In bfloat16 only the large products are: sums, norms, activations and residuals stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.crew import divided
from separation.engine.kernels.dconv import FoldedDConv, shifted
from separation.engine.kernels.filters import PlainFilter, row_filter
from separation.engine.kernels.stretches import fitting, joined
from separation.engine.kernels.winograd import MADE

LEAST_ROWS = 16
"""Rows that are worth a thread of their own."""


def rows_first(x: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(batch, channels, rows, time) as contiguous (batch, rows, channels, time): a view if it lies like that."""
    return x.transpose(1, 2).contiguous().to(dtype)


class _Rows(nn.Module):
    """What both kinds of layer share: the precision of products and results, and the residual branch."""

    empty = False
    dconv: FoldedDConv | None

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.dconv = layer.dconv
        self.pad, self.stride, self.kernel = layer.pad, layer.stride, layer.kernel_size

    def _residual(self, y: torch.Tensor) -> torch.Tensor:
        return y if self.dconv is None else self.dconv(y)


def _can_use(layer: Any, kind: str) -> bool:
    plain = type(layer).__name__ == kind and layer.freq and not layer.empty and not layer.norm and layer.pad
    return bool(plain and layer.rewrite is not None and isinstance(layer.dconv, FoldedDConv | None))


def can_use_encoder(layer: Any) -> bool:
    """Whether the layer is a padded frequency layer without norms that span rows."""
    usual = _can_use(layer, "HEncLayer") and layer.rewrite.kernel_size == (1, 1)
    return bool(usual and layer.kernel_size % layer.stride == 0)


class RowEncoder(_Rows):
    """`demucs.hdemucs.HEncLayer` of the frequency branch, its residual branch folded."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        weight = layer.conv.weight.detach()[..., 0].transpose(1, 2)  # (out, kernel, in)
        stacks = weight.reshape(len(weight), self.kernel // self.stride, -1)  # of as many rows as a stride
        self.conv = row_filter(stacks, layer.conv.bias.detach()[:, None], dtype)
        self.channels = len(weight)
        self.rewrite = PlainFilter(
            layer.rewrite.weight.detach().flatten(1)[:, None], layer.rewrite.bias.detach()[:, None], dtype
        )

    def forward(self, x: torch.Tensor, inject: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, channels, rows, time) to (batch, channels out, rows / stride, time)."""
        given = rows_first(x, self.dtype)
        added = None if inject is None else rows_first(inject if inject.dim() == 4 else inject[:, :, None])
        out = [self._one(item, None if added is None else added[i]) for i, item in enumerate(given)]
        return joined(out).transpose(1, 2)

    def _one(self, x: torch.Tensor, inject: torch.Tensor | None) -> torch.Tensor:
        rows, _, frames = x.shape
        rows_out = (rows + 2 * self.pad - self.kernel) // self.stride + 1
        out = x.new_empty(rows_out, self.channels, frames, dtype=self.dtype)
        step = _at_a_time(2 * self.channels * frames, rows_out)

        def fill(begin: int, end: int) -> None:
            for first in range(begin, end, step):
                last = min(first + step, end)
                part = None if inject is None else inject if len(inject) == 1 else inject[first:last]
                self._tile(x, first, part, out[first:last])

        divided(fill, rows_out, LEAST_ROWS)
        return out

    def _tile(self, x: torch.Tensor, first: int, inject: torch.Tensor | None, out: torch.Tensor) -> None:
        start = first * self.stride - self.pad
        taken = _with_halo(x, start, start + (len(out) - 1) * self.stride + self.kernel)
        y = self.conv(taken.view(-1, self.stride * taken.shape[1], taken.shape[2]))
        if inject is not None:
            y += inject
        y = self._residual(F.gelu(y)).to(self.dtype)
        out.copy_(F.glu(self.rewrite(y), dim=1))


def _at_a_time(values: int, most: int) -> int:
    """Rows of so many values that fit the cache, in as many stacks as filters make at once.

    They divide `most` if they can without becoming too few: see `equal_parts`.
    """
    stacks, whole = max(1, fitting(values, most) // MADE), -(-most // MADE)
    equal = max(count for count in range(1, stacks + 1) if whole % count == 0)
    return MADE * (equal if 2 * equal >= stacks else stacks)


def _with_halo(x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Rows start..stop of (rows, channels, time), zeros where there are none."""
    before, after = max(0, -start), max(0, stop - len(x))
    inside = x[max(0, start) : min(len(x), stop)]
    return F.pad(inside, (0, 0, 0, 0, before, after)) if before or after else inside


def can_use_decoder(layer: Any) -> bool:
    """Whether the layer is a padded frequency layer without norms, stretching rows by half its kernel."""
    return _can_use(layer, "HDecLayer") and layer.context_freq and layer.kernel_size == 2 * layer.stride


class RowDecoder(_Rows):
    """`demucs.hdemucs.HDecLayer` of the frequency branch, its residual branch folded.

    The transposed convolution (kernel twice the stride) is computed by phase: output row stride * m + r depends
    on rows m and m - 1 only.
    """

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        self.last = layer.last
        weight = layer.rewrite.weight.detach()  # (out, in, rows, time)
        self.height, self.taps = weight.shape[2:]
        bias = layer.rewrite.bias.detach()[:, None]
        self.rewrite = row_filter(weight.permute(0, 2, 3, 1).flatten(2), bias, dtype)
        kernel = layer.conv_tr.weight.detach()[..., 0]  # (in, out, kernel)
        here, before = kernel[..., : self.stride], kernel[..., self.stride :]
        phases = torch.stack([before, here]).permute(3, 2, 0, 1)  # (phase, out, 2, in)
        self.channels = kernel.shape[1]
        bias = layer.conv_tr.bias.detach().repeat(self.stride)[:, None]
        self.conv = row_filter(phases.flatten(0, 1), bias, dtype)

    def forward(self, x: torch.Tensor, skip: torch.Tensor, _length: int | None) -> tuple[torch.Tensor, None]:
        """(batch, channels, rows, time) to (batch, channels out, rows * stride, time)."""
        given, added = rows_first(x, self.dtype), rows_first(skip, self.dtype)
        out = [self._one(item, other) for item, other in zip(given, added, strict=True)]
        return joined(out).transpose(1, 2), None

    def _one(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        rows, width, frames = x.shape
        out = x.new_empty(rows * self.stride, self.channels, frames, dtype=self.dtype)
        step = _at_a_time(2 * width * frames, rows)
        heads: dict[int, torch.Tensor] = {}  # by the row they begin at: what parts leave to be joined
        tails: dict[int, torch.Tensor] = {}

        def fill(begin: int, end: int) -> None:
            before = None if begin else x.new_zeros(1, width, frames)
            for first in range(begin, end, step):
                last = min(first + step, end)
                y = self._tile(x, skip, first, last + (last == rows))  # past the end: the last row's second half
                if before is None:
                    heads[first] = y[:1]
                    self._stretch_to(out, first + 1, y)
                else:
                    self._stretch_to(out, first, torch.cat([before, y]))
                before = y[-1:].clone()
            if before is not None:
                tails[end] = before

        divided(fill, rows, LEAST_ROWS)
        for first, head in heads.items():
            self._stretch_to(out, first, torch.cat([tails[first], head]))
        return out

    def _stretch_to(self, out: torch.Tensor, first: int, y: torch.Tensor) -> None:
        """Stretch y, which is the rows from `first` - 1 on, to where it belongs, as far as `out` has such rows."""
        if len(y) < 2:
            return
        z, start = self._stretch(y), first * self.stride - self.pad
        cut, keep = max(0, -start), min(len(z), len(out) - start)
        out[start + cut : start + keep] = z[cut:keep]

    def _tile(self, x: torch.Tensor, skip: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Rows first..last before the stretching; past the end they are zeros."""
        stop = min(last, len(x))
        reach = self.height // 2
        taken = self._sum(x, skip, first - reach, stop + reach)
        y = F.glu(self.rewrite(taken), dim=1)
        y = self._residual(y).to(self.dtype)
        return F.pad(y, (0, 0, 0, 0, 0, last - stop)) if last > stop else y

    def _sum(self, x: torch.Tensor, skip: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """x + skip for rows start..stop as (rows, taps x channels, time): shifted by a frame for each tap in time."""
        width, frames = x.shape[1:]
        out = x.new_zeros(stop - start, self.taps, width, frames)
        inside = slice(max(0, start), min(len(x), stop))
        rows = out[inside.start - start : inside.stop - start]
        middle = self.taps // 2
        total = torch.add(x[inside], skip[inside], out=rows[:, middle])
        for tap in range(self.taps):
            shift = tap - middle
            if 0 < abs(shift) < frames:
                shifted(rows[:, tap], -shift).copy_(shifted(total, shift))
        return out.flatten(1, 2)

    def _stretch(self, y: torch.Tensor) -> torch.Tensor:
        """(m + 1, channels, time) to (m x stride, channels out, time)."""
        z = self.conv(y).view(-1, self.channels, y.shape[-1])
        return z if self.last else F.gelu(z)
