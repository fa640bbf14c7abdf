"""Convolutions over neighbouring rows, four output rows at a time, with fewer products.

F(4, taps) of Winograd's minimal filtering, over rows only: 3 + taps combinations of rows take one product each, instead
of 4 x taps. With values in float32 and the points below, rounding errors are two and a half times those of the plain
products (F(4, 3)); bfloat16 would lose too much.

Owns the combinations. They are the transpose of Toom and Cook's product of polynomials: evaluate, multiply, interpolate
(Lavin and Gray 2016; the choice of points after Barabasz et al. 2020).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.products import windows

MADE = 4
POINTS = (1.0, 0.0, -1.0, 0.5, -2.0)
"""Where polynomials are evaluated, besides infinity. The product of the first is a part of every output row, so it is
the one to add a bias to."""


def evaluation(points: tuple[float, ...], values: int) -> torch.Tensor:
    """Evaluates a polynomial of so many coefficients at the points and at infinity, (points + 1, values)."""
    powers = [[point**power for power in range(values)] for point in points]
    return torch.tensor([*powers, [0.0] * (values - 1) + [1.0]], dtype=torch.float64)


class RowFilter(nn.Module):
    """`weight` (out, taps, width) over stacks of `taps` rows of (rows, width, time), plus `bias` (out, 1)."""

    weights: torch.Tensor
    bias: torch.Tensor
    spread: torch.Tensor
    gather: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.taps = weight.shape[1]
        self.taken = MADE + self.taps - 1
        points = POINTS[: self.taken - 1]
        weights = torch.einsum("pt,otw->pow", evaluation(points, self.taps), weight.double())
        self.register_buffer("weights", weights.float().contiguous())
        self.register_buffer("bias", bias)
        self.register_buffer("spread", torch.linalg.inv(evaluation(points, self.taken)).t().float().contiguous())
        self.register_buffer("gather", evaluation(points, MADE).t().float().contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows + taps - 1, width, time) to (rows, out, time)."""
        rows, (width, frames) = len(x) - self.taps + 1, x.shape[1:]
        stacks = -(-rows // MADE)
        missing = stacks * MADE - rows
        x = F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
        out = x.new_empty(stacks * MADE, len(self.bias), frames)
        sums, products = x.new_empty(self.taken, width, frames), x.new_empty(self.taken, len(self.bias), frames)
        given = windows(x.flatten(1)[:, None], self.taken, MADE)
        for taken, made in zip(given, out.view(stacks, MADE, -1), strict=True):
            torch.mm(self.spread, taken, out=sums.view(self.taken, -1))
            for weight, combined, product in zip(self.weights, sums, products, strict=True):
                torch.mm(weight, combined, out=product)
            products[0] += self.bias
            torch.mm(self.gather, products.view(self.taken, -1), out=made)
        return out[:rows]
