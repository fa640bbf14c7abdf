"""How much a tree holds, looked at often and cheaply.

Owns which processes are read when, and how pages shared between them are counted. Decides nothing.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from memory.policy import TreeLimits
from memory.probes.tree import Reading, Tree

SCAN_SHARE = 20  # looking for new members may take a twentieth of the time
PSS_SHARE = 10  # reading shares, which the kernel adds up page by page, a tenth


class Usage(NamedTuple):
    """One look at the tree, in bytes. `used` is what counts against the limit."""

    rss: int
    pss: int | None
    used: int
    processes: int


class _Share(NamedTuple):
    """The tree's PSS, and what its members were and held then."""

    pss: int
    anon: int
    pids: frozenset[int]


class Meter:
    """Looks at everything below process `root`.

    `cpu_clock` is the processor time this thread has used, in seconds: what looking costs decides how often the
    expensive parts of it are done.
    """

    def __init__(
        self, tree: Tree, root: int, limits: TreeLimits, *, cpu_clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._tree, self._root, self._limits, self._cpu = tree, root, limits, cpu_clock
        self._next_scan = self._next_share = 0.0
        self._share: _Share | None = None
        self.members: dict[int, float] = {}
        self.peak = self.peak_data = 0
        self._share_cost = 0.0
        self.cost = 0.0
        """Processor seconds of a look like the last one, less what is done only now and then."""

    def look(self, now: float) -> Usage:
        """Read every member; `now` is the monotonic clock."""
        shared_before, self._share_cost = self._share_cost, 0.0
        self._find_members(now)
        spent = self._cpu()
        readings = {pid: one for pid in self.members if (one := self._tree.reading(pid)) is not None}
        held = sum(reading.held for reading in readings.values())
        pss = self._fair_share(readings, now) if held > self._limits.warn_at and len(readings) > 1 else None
        usage = Usage(held, pss, held if pss is None else min(pss, held), len(readings))
        self._remember(usage, list(readings.values()))
        self.cost = self._cpu() - spent - (0.0 if shared_before else self._share_cost)
        return usage

    def _find_members(self, now: float) -> None:
        if now >= self._next_scan:
            spent = self._cpu()
            self.members = self._tree.descendants(self._root)
            self._next_scan = now + (self._cpu() - spent) * SCAN_SHARE

    def _fair_share(self, readings: dict[int, Reading], now: float) -> int | None:
        """The tree's PSS: forks share pages, and their summed RSS counts each page once per fork.

        Between two readings of it, members that were there already can't come to share more anonymous memory (only
        forking does that), so what they have gained since is their own.
        """
        anon = sum(reading.anon for reading in readings.values())
        share = self._share
        if share is None or now >= self._next_share or share.pids != readings.keys():
            share = self._read_share(readings, anon, now)
        return None if share is None else share.pss + max(anon - share.anon, 0)

    def _read_share(self, readings: dict[int, Reading], anon: int, now: float) -> _Share | None:
        spent = self._cpu()
        shares = [self._tree.pss(pid) for pid in readings]
        known = [share for share in shares if share is not None]
        self._share = _Share(sum(known), anon, frozenset(readings)) if known else None
        self._share_cost = self._cpu() - spent
        self._next_share = now + self._share_cost * PSS_SHARE
        return self._share

    def _remember(self, usage: Usage, readings: list[Reading]) -> None:
        """A lone process's own high-water mark also knows what was held between two looks."""
        highest = readings[0].peak if len(readings) == 1 else 0
        self.peak = max(self.peak, usage.used, highest)
        self.peak_data = max([self.peak_data, *(reading.data for reading in readings)])
