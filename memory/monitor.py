"""`MemoryMonitor`: how much memory the host and this process have, and whether this process may take work.

Owns the thresholds of the service's own processes (MEMORY_LIMIT_MB, MEMORY_WARNING_THRESHOLD_MB) with their
hysteresis. What supervised operations may hold is `memory.processes`' affair, and what fits is `memory.limiter`'s.
"""

import logging
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memory.policy import may_accept
from memory.probes.host import ROOT, HostReading, read_host
from memory.probes.tree import default_reader, tree_for
from memory.quantities import format_bytes

logger = logging.getLogger(__name__)

RESUME_FRACTION = 0.9  # of the limit, where the warning threshold is not lower


@dataclass(frozen=True)
class ProcessReading:
    """One process, in bytes: resident, unique (None where it can't be read) and the highest it ever was."""

    pid: int
    rss: int
    uss: int | None
    peak: int


@dataclass(frozen=True)
class Acceptance:
    """Whether this process takes new work; if not, why, and after how many seconds to ask again."""

    ok: bool
    reason: str = ""
    retry_after: int = 0


class MemoryMonitor:
    """Reads the host and this process. One instance per process keeps its hysteresis; any thread may use it.

    Sizes in bytes and `check_interval` in seconds default to the settings. `root` is the filesystem root that the
    host is read from, `own_rss` reads this process; tests inject both.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        warning_threshold: int | None = None,
        check_interval: float | None = None,
        root: Path = ROOT,
        own_rss: Callable[[], int] | None = None,
    ) -> None:
        self._given = (limit, warning_threshold, check_interval)
        self._root = root
        self._own_rss = own_rss or _own_rss
        self._lock = threading.Lock()
        self._accepting = True
        self._over_warning = False
        self.warnings = 0
        """How often this process went over its warning threshold."""

    def host(self) -> HostReading:
        """The machine and the part of it that this process may use."""
        return read_host(self._root)

    def own_process(self) -> ProcessReading:
        """This process, read now."""
        uss = tree_for(default_reader()).uss(os.getpid())
        rss = self._own_rss()
        return ProcessReading(os.getpid(), rss, uss, max(_own_peak(), rss))

    def accepting_work(self, needs: int = 0) -> Acceptance:
        """Over the limit this process refuses until it is back under the warning threshold (at most 90 % of the
        limit). Logs once for each crossing of either. `needs` bytes more must fit under the limit, too."""
        limit, warning, interval = self._thresholds()
        used = self._own_rss()
        with self._lock:
            self._note_warning(used, warning)
            self._note_limit(used, limit, min(warning, int(limit * RESUME_FRACTION)))
            if self._accepting and (not needs or used + needs <= limit):
                return Acceptance(ok=True)
        more = f" and needs {format_bytes(needs)} more" if self._accepting else ""
        reason = f"this server process holds {format_bytes(used)}{more}, and its limit is {format_bytes(limit)}"
        return Acceptance(ok=False, reason=reason, retry_after=max(1, round(interval)))

    def _thresholds(self) -> tuple[int, int, float]:
        limit, warning, interval = self._given
        if limit is None or warning is None or interval is None:
            from memory.conf import memory_settings

            configured = memory_settings()
            limit = configured.memory_limit if limit is None else limit
            warning = configured.memory_warning_threshold if warning is None else warning
            interval = configured.memory_check_interval if interval is None else interval
        return limit, warning, interval

    def _note_warning(self, used: int, threshold: int) -> None:
        over = used > threshold
        if over and not self._over_warning:
            self.warnings += 1
            logger.warning(
                "process %d holds %s, over its warning threshold of %s",
                os.getpid(),
                format_bytes(used),
                format_bytes(threshold),
            )
        self._over_warning = over

    def _note_limit(self, used: int, limit: int, resume_at: int) -> None:
        accepting = may_accept(used, limit=limit, resume_at=resume_at, accepting=self._accepting)
        if accepting != self._accepting:
            logger.log(
                logging.INFO if accepting else logging.ERROR,
                "process %d holds %s, limit %s: %s",
                os.getpid(),
                format_bytes(used),
                format_bytes(limit),
                "taking work again" if accepting else "taking no new work",
            )
        self._accepting = accepting


def _own_rss() -> int:
    reading = tree_for(default_reader()).reading(os.getpid())
    return reading.rss if reading is not None else 0


def _own_peak() -> int:
    """Linux's own mark: getrusage(2) there also remembers what this process was before it became this program."""
    reading = tree_for(default_reader()).reading(os.getpid())
    if reading is not None and reading.peak:
        return reading.peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


process_monitor = MemoryMonitor()
"""This process's own; its hysteresis is shared by all who ask."""
