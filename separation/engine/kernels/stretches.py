"""How much is computed at a time so that it stays in the cache, and putting results together without a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

CACHE_BYTES = 2 * 1024**2


def fitting(values: int, most: int, bytes_each: int = 4) -> int:
    """How many items of so many values fit into `CACHE_BYTES`; at least one, at most `most`."""
    return max(1, min(most, CACHE_BYTES // (bytes_each * values)))


def stretches(count: int, values: int) -> Iterator[slice]:
    """`count` items of so many float32 values, in slices that fit, of one size but for the last."""
    step = -(-count // -(-count // fitting(values, count)))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def joined(items: Sequence[torch.Tensor]) -> torch.Tensor:
    """The items as one batch; of a single one no copy is made."""
    return items[0][None] if len(items) == 1 else torch.stack(list(items))
