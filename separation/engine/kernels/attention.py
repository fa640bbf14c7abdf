"""Transformer layers: projections without reshuffling copies; norm, feed-forward and sum in slices that stay in cache.

In bfloat16 weights are cast once, and norms and residual sums stay in float32. Attention is a matmul, softmax, matmul
per head: in bfloat16 faster than the CPU's fused attention, in float32 as fast over few keys.
"""

from __future__ import annotations

import math
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from separation.engine.kernels.crew import divided
from separation.engine.kernels.stretches import equal_parts

SLICE = 520
"""Positions at a time: the sequences of htdemucs and Starter, and halves of them, have equal parts of at most that."""

FEW_KEYS = 1200
"""Up to which attention is by head in float32, too: no slower, and of fewer sizes of product. oneDNN keeps 0.6 MB for
each size."""


class Projections(nn.Module):
    """The weights of an `nn.MultiheadAttention` (batch first, one embedding size), in `dtype`.

    `scale` is the layer scale that its output is multiplied by. Queries come divided by √d already.
    """

    query_weight: torch.Tensor
    query_bias: torch.Tensor
    key_weight: torch.Tensor
    key_bias: torch.Tensor
    value_weight: torch.Tensor
    value_bias: torch.Tensor
    out_weight: torch.Tensor
    out_bias: torch.Tensor

    def __init__(self, attention: Any, dtype: torch.dtype, scale: torch.Tensor) -> None:
        super().__init__()
        self.heads = attention.num_heads
        weights = attention.in_proj_weight.detach().to(dtype).chunk(3)
        biases = attention.in_proj_bias.detach().to(dtype).chunk(3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            factor = 1 / math.sqrt(attention.head_dim) if name == "query" else 1.0
            self.register_buffer(f"{name}_weight", weight * factor)
            self.register_buffer(f"{name}_bias", bias * factor)
        self.register_buffer("out_weight", (attention.out_proj.weight.detach() * scale[:, None]).to(dtype))
        self.register_buffer("out_bias", (attention.out_proj.bias.detach() * scale).to(dtype))
        self.dtype = dtype

    def forward(self, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Attention of `query` (batch, n, channels) over `memory` (batch, m, channels), in float32."""
        query, memory = query.to(self.dtype), memory.to(self.dtype)
        q = self._split(F.linear(query, self.query_weight, self.query_bias))
        k = self._split(F.linear(memory, self.key_weight, self.key_bias))
        v = self._split(F.linear(memory, self.value_weight, self.value_bias))
        fused = self.dtype == torch.float32 and k.shape[2] > FEW_KEYS
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0) if fused else per_head(q, k, v)
        joined = mixed.transpose(1, 2).reshape(query.shape)
        return F.linear(joined, self.out_weight, self.out_bias).float()

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        batch, count, channels = x.shape
        return x.view(batch, count, self.heads, channels // self.heads).transpose(1, 2)


def per_head(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q kᵀ) v for (batch, heads, n, d), a slice of one head at a time: the scores stay in the cache."""
    out = torch.empty_like(q)

    def fill(first: int, last: int) -> None:
        for item in range(q.shape[0]):
            for head in range(first, last):
                keys, values = k[item, head].t(), v[item, head]
                for rows in equal_parts(0, q.shape[2], SLICE):
                    out[item, head, rows] = torch.softmax(q[item, head, rows] @ keys, dim=-1) @ values

    divided(fill, q.shape[1], 1)
    return out


class FeedForward(nn.Module):
    """linear → activation → linear over slices of positions, in `dtype`, times the layer scale."""

    inner_weight: torch.Tensor
    inner_bias: torch.Tensor
    outer_weight: torch.Tensor
    outer_bias: torch.Tensor

    def __init__(self, layer: Any, dtype: torch.dtype, scale: torch.Tensor) -> None:
        super().__init__()
        self.activation = layer.activation
        self.register_buffer("inner_weight", layer.linear1.weight.detach().to(dtype))
        self.register_buffer("inner_bias", layer.linear1.bias.detach().to(dtype))
        self.register_buffer("outer_weight", (layer.linear2.weight.detach() * scale[:, None]).to(dtype))
        self.register_buffer("outer_bias", (layer.linear2.bias.detach() * scale).to(dtype))
        self.dtype = dtype

    def add_to(self, x: torch.Tensor, norm: Any) -> None:
        """Add what it makes of the norm of x to x (batch, n, channels) in float32; `norm` is of each position."""

        def fill(first: int, last: int) -> None:
            for part in equal_parts(first, last, SLICE):
                rows = x[:, part]
                hidden = self.activation(F.linear(norm(rows).to(self.dtype), self.inner_weight, self.inner_bias))
                rows += F.linear(hidden, self.outer_weight, self.outer_bias)

        divided(fill, x.shape[1], SLICE)


class WholeNorm(nn.Module):
    """`demucs.transformer.MyGroupNorm` with one group, on (batch, n, channels) as it lies."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised over positions and channels together."""
        whole = F.layer_norm(x, x.shape[1:], eps=self.norm.eps)
        return torch.addcmul(self.norm.bias, whole, self.norm.weight, out=whole)


def can_replace(layer: Any) -> bool:
    """Whether the layer is one of demucs's two transformer layers, with dense attention and norms before it."""
    if type(layer).__name__ not in ("MyTransformerEncoderLayer", "CrossTransformerEncoderLayer") or layer.sparse:
        return False
    attention = _attention(layer)
    norms = [getattr(layer, name, None) for name in ("norm1", "norm2", "norm3")]
    by_position = all(norm is None or type(norm) is nn.LayerNorm for norm in norms)
    out_of_one = layer.norm_out is None or layer.norm_out.num_groups == 1
    plain = type(attention) is nn.MultiheadAttention and attention.in_proj_weight is not None
    return bool(layer.norm_first and by_position and out_of_one and plain)


def _attention(layer: Any) -> Any:
    return getattr(layer, "self_attn", None) or getattr(layer, "cross_attn", None)


def install_attention(layer: Any, dtype: torch.dtype = torch.float32) -> None:
    """Let the layer use `Projections`, `FeedForward` and `WholeNorm`; its layer scales go into their weights."""
    attend = Projections(_attention(layer), dtype, _take_scale(layer, "gamma_1"))
    feed = FeedForward(layer, dtype, _take_scale(layer, "gamma_2"))
    layer.linear1, layer.linear2 = feed, nn.Identity()  # in their place: nothing is kept twice
    ending = nn.Identity() if layer.norm_out is None else WholeNorm(layer.norm_out)

    def own(self: Any, x: torch.Tensor, *_masks: Any) -> torch.Tensor:
        normed = self.norm1(x)
        x = attend(normed, normed).add_(x)
        feed.add_to(x, self.norm2)
        return ending(x)

    def cross(self: Any, q: torch.Tensor, k: torch.Tensor, *_masks: Any) -> torch.Tensor:
        x = attend(self.norm1(q), self.norm2(k)).add_(q)
        feed.add_to(x, self.norm3)
        return ending(x)

    if hasattr(layer, "self_attn"):
        layer.self_attn = attend
        layer.forward = MethodType(own, layer)
    else:
        layer.cross_attn = attend
        layer.forward = MethodType(cross, layer)


def _take_scale(layer: Any, name: str) -> torch.Tensor:
    """The values of a layer scale (ones if there is none), which the layer then no longer applies."""
    scale = getattr(getattr(layer, name), "scale", None)
    setattr(layer, name, nn.Identity())
    return torch.ones_like(layer.linear2.bias) if scale is None else scale.detach()
