"""How far a child gets over its limit when it allocates as fast as it can: `python -m tests.benchmarks.overshoot`.

Each row is the worst of several runs. The peak is the kernel's high-water mark (or, with several processes, the
highest look at the tree), so nothing is missed between two looks. Beside it: the same child under a supervisor
that looks at it every 100 ms with psutil, as is usual.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, getrusage

import psutil

from memory.processes import EndReason, OperationLimits, ProcessResourceManager
from memory.quantities import MIB

GOAL = 0.15

FILLS = "held = []\nwhile True: held.append(b'x' * (16 << 20))"
FILLS_AT_ONCE = "held = b'x' * (4 << 30)"
HUGE_PAGES = """
import mmap
held = mmap.mmap(-1, 4 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(held), 4096): held[at] = 1
"""
WAITS_THEN_FILLS = """
import time
held = [b'x' * ({limit} * 8 // 10)]
time.sleep(0.5)
while True: held.append(b'x' * (16 << 20))
"""
FORKS_FILL = """
import os
for _ in range(3): os.fork()
held = []
while True: held.append(b'x' * (4 << 20))
"""
TORCH_FILLS = "import torch\nheld = []\nwhile True: held.append(torch.ones(64 << 18))"
PROGRAMS = {
    "appends 16 MB blocks": FILLS,
    "asks for 4 GB at once": FILLS_AT_ONCE,
    "huge pages": HUGE_PAGES,
    "waits at 80 %, then fills": WAITS_THEN_FILLS,
    "eight forks fill together": FORKS_FILL,
    "torch, all cores": TORCH_FILLS,
}


@dataclass(frozen=True)
class Row:
    """The worst overshoot of one program under one limit; None where the peer wasn't measured."""

    program: str
    limit: int
    peak: int
    peer_peak: int | None
    ended: bool

    @property
    def overshoot(self) -> float:
        return self.peak / self.limit - 1


def measure(limits_mb: Sequence[int], runs: int, *, peer: bool = True) -> Iterator[Row]:
    """One row per program and limit."""
    for name, template in PROGRAMS.items():
        for limit in (size * MIB for size in limits_mb):
            argv = [sys.executable, "-c", template.replace("{limit}", str(limit))]
            if name.startswith("torch") and limit < 512 * MIB:
                continue
            ours = [_ours(argv, limit) for _ in range(runs)]
            peer_peak = max(_peer(argv, limit) for _ in range(runs)) if peer and "forks" not in name else None
            yield Row(name, limit, max(peak for peak, _ in ours), peer_peak, all(ended for _, ended in ours))


def _ours(argv: list[str], limit: int) -> tuple[int, bool]:
    outcome = ProcessResourceManager(poll_seconds=0.1).run(argv, limits=OperationLimits(limit), label="overshoot")
    return outcome.peak_bytes, outcome.reason is EndReason.MEMORY_LIMIT


def _peer(argv: list[str], limit: int) -> int:
    """Poll every 100 ms with psutil, kill when over. A helper process, so that RUSAGE_CHILDREN is of one child."""
    helper = f"from tests.benchmarks.overshoot import watch_with_psutil\nwatch_with_psutil({argv!r}, {limit})"
    return int(subprocess.run([sys.executable, "-c", helper], check=True, capture_output=True, text=True).stdout)


def watch_with_psutil(argv: list[str], limit: int) -> None:
    """Prints the peak in bytes."""
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            if process.memory_info().rss > limit:
                child.kill()
            time.sleep(0.1)
    print(getrusage(RUSAGE_CHILDREN).ru_maxrss * 1024)


def show(rows: Iterator[Row], write: Callable[[str], object] = print) -> bool:
    """Write the table; True when every overshoot is within the goal."""
    write(f"{'child':28} {'limit':>8} {'peak':>8} {'overshoot':>10} {'psutil, 100 ms':>15}   goal <= {GOAL:.0%}")
    good = True
    for row in rows:
        met = row.ended and row.overshoot <= GOAL
        good = good and met
        peer = "-" if row.peer_peak is None else f"{row.peer_peak / row.limit - 1:+.1%}"
        sizes = f"{row.limit / MIB:>5.0f} MB {row.peak / MIB:>5.0f} MB"
        write(f"{row.program:28} {sizes} {row.overshoot:>+10.1%} {peer:>15}   {'met' if met else 'MISSED'}")
    return good


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits-mb", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true", help="leave out the column of the psutil supervisor")
    arguments = parser.parse_args(argv)
    logging.getLogger("memory").setLevel(logging.CRITICAL)
    return 0 if show(measure(arguments.limits_mb, arguments.runs, peer=not arguments.no_peer)) else 1


if __name__ == "__main__":
    sys.exit(main())
