"""Segments computed side by side, each with a part of the cores.

Owns the threads they are computed in and how far these run ahead. Small networks have operations that are over before
a second core has been woken: a segment on each core takes less time than all cores on one segment after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")


class Lanes:
    """`count` lanes that share `threads` threads; one lane is the caller's own thread. Use as a context manager."""

    def __init__(self, count: int, threads: int) -> None:
        self.count = max(1, min(count, threads))
        self._pool: ThreadPoolExecutor | None = None
        if self.count > 1:
            own = threads // self.count
            self._pool = ThreadPoolExecutor(self.count, "lane", initializer=torch.set_num_threads, initargs=(own,))

    def __enter__(self) -> Lanes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
        """`work` of each item, in order. At most `count` + 1 items are taken ahead of what was given out."""
        if self._pool is None:
            yield from map(work, items)
            return
        begun: deque[Future[Made]] = deque()
        for item in items:
            begun.append(self._pool.submit(work, item))
            if len(begun) > self.count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
