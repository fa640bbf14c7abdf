"""How much is computed at a time so that it stays in the cache, and putting results together without a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

CACHE_BYTES = 2 * 1024**2


def fitting(values: int, most: int, bytes_each: int = 4) -> int:
    """How many items of so many values fit into `CACHE_BYTES`; at least one, at most `most`."""
    return max(1, min(most, CACHE_BYTES // (bytes_each * values)))


def equal_parts(begin: int, end: int, most: int) -> Iterator[slice]:
    """Slices of at most `most` from `begin` to `end`, of one size but for the last.

    What one part gives back to malloc the next one fits into: sizes that differ leave holes, and memory grows.
    """
    step = -(-(end - begin) // -(-(end - begin) // most))
    return (slice(start, min(start + step, end)) for start in range(begin, end, step))


def stretches(count: int, values: int) -> Iterator[slice]:
    """`count` items of so many float32 values, in equal parts that fit."""
    return equal_parts(0, count, fitting(values, count))


def joined(items: Sequence[torch.Tensor]) -> torch.Tensor:
    """The items as one batch; of a single one no copy is made."""
    return items[0][None] if len(items) == 1 else torch.stack(list(items))
