"""Segments computed side by side, each with a part of the cores.

Owns the threads they are computed in and how far these run ahead. Small networks have operations that are over before
a second core has been woken: a segment on each core takes less time than all cores on one segment after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from separation.engine.environment import keep_less
from separation.engine.kernels.crew import use_threads

Work = Callable[[torch.Tensor], torch.Tensor]


class Lanes:
    """`count` lanes that share `threads` threads; one lane is the caller's own thread. Use as a context manager.

    Beside several lanes the caller has one core: its short operations would wait for a second that a lane keeps busy.
    """

    def __init__(self, count: int, threads: int) -> None:
        self.count = max(1, min(count, threads))
        self._callers = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        if self.count > 1:
            own = threads // self.count
            self._pool = ThreadPoolExecutor(self.count, "lane", initializer=use_threads, initargs=(own,))

    def __enter__(self) -> Lanes:
        if self._pool is not None:
            use_threads(1)
            keep_less()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            use_threads(self._callers)

    def map(self, work: Work, items: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """`work` of each item, in order; a result may be overwritten when the next is asked for.

        At most `count` + 1 items are taken ahead of what was given out.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        begun: deque[tuple[Future[torch.Tensor], torch.Tensor]] = deque()  # the item is kept so that it is freed here
        slots = [_Slot() for _ in range(self.count + 2)]
        for number, item in enumerate(items):
            begun.append((self._pool.submit(slots[number % len(slots)].filled, work, item), item))
            if len(begun) > self.count:
                yield begun.popleft()[0].result()
        while begun:
            yield begun.popleft()[0].result()


class _Slot:
    """Memory for one result at a time.

    A lane that gave its result away would have it freed by another thread, at any time: its own memory would not be
    laid out like this the next time, and grow.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def filled(self, work: Work, item: torch.Tensor) -> torch.Tensor:
        """A copy of `work` of the item."""
        result = work(item)
        if self._memory.numel() < result.numel():
            self._memory = torch.empty(result.numel())
        return self._memory[: result.numel()].view(result.shape).copy_(result)
