"""One htdemucs segment in each mode against the processor's measured float32 matmul peak: `… MODEL_DIR`.

Run in a process of its own, in the engine's environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.measure import table


def best(work: Callable[[], object], repeats: int = 4) -> float:
    """The quickest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return min(times[1:])


def main() -> None:
    """Print the table."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from separation.engine.device import CpuBoundary, configure_cpu, tune
    from separation.engine.loading import load_network, open_bag
    from tests.benchmarks.peers import _cores

    bag = open_bag("htdemucs", Path(sys.argv[1]))
    mix = torch.randn(1, 2, 343980)
    torch.set_num_threads(_cores())

    def network():
        return load_network(bag, bag.signatures[0])

    def timed(net) -> float:
        with torch.inference_mode():
            return best(lambda: net(mix))

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network()(mix)
    flops = counter.get_total_flops()
    rows = [("Demucs as it comes", timed(network()))]
    configure_cpu(_cores())
    for mode in ("exact", "fast"):
        net = network()
        tune(net, CpuBoundary(), mode)
        rows.append((mode, timed(net)))
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    peak = 2 * 2048**3 / best(lambda: a @ b)
    limit = flops / peak
    cells = [[name, f"{s:.2f}", f"{flops / s / 1e9:.0f}", f"{100 * limit / s:.0f} %"] for name, s in rows]
    print(
        f"\n{flops / 1e9:.0f} GFLOP a segment of 7.8 s; peak {peak / 1e9:.0f} GFLOP/s in float32: {limit:.2f} s at best"
    )
    table("One htdemucs segment", ("mode", "s", "GFLOP/s", "share of the float32 peak"), cells)


if __name__ == "__main__":
    main()
