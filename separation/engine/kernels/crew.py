"""Dividing a stack of like pieces among threads, each of which computes its part with one core.

A core that has a part of the rows to itself need not be woken, and waited for, at every one of the short operations on
them. Owns the threads, which each caller has for itself: lanes do not wait for one another. How many the caller may
use is what torch says in its thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def divided(work: Callable[[int, int], None], count: int, least: int) -> None:
    """Call `work(first, stop)` for equal parts of range(count), all at once; for all of it if they would be smaller
    than `least`."""
    parts = torch.get_num_threads()
    if parts == 1 or count < least * parts:
        work(0, count)
        return
    inference = torch.is_inference_mode_enabled()

    def part(index: int) -> None:
        with torch.inference_mode(inference):
            work(count * index // parts, count * (index + 1) // parts)

    list(_crews.of(parts).map(part, range(parts)))


def use_threads(count: int) -> None:
    """Let torch use so many threads in the calling thread, whatever it uses in others.

    A thread that first computes takes over what was set last, in any thread; only from then on it has its own number.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


class _Crews(threading.local):
    """The calling thread's pools, by their number of threads; they end with it."""

    def __init__(self) -> None:
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def of(self, count: int) -> ThreadPoolExecutor:
        if count not in self._pools:
            self._pools[count] = ThreadPoolExecutor(count, "crew", initializer=use_threads, initargs=(1,))
        return self._pools[count]


_crews = _Crews()
