"""One htdemucs segment in each mode, whole and by part, against the measured float32 matmul peak: `… MODEL_DIR`.

Run in a process of its own, in the engine's environment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from separation.engine.device import CpuBoundary, configure_cpu, tune
from separation.engine.loading import load_network, open_bag
from tests.benchmarks.measure import table
from tests.benchmarks.peers import _cores

PARTS = {
    "frequency encoders": "encoder",
    "waveform encoders": "tencoder",
    "transformer": "crosstransformer",
    "frequency decoders": "decoder",
    "waveform decoders": "tdecoder",
}
REST = "transforms, norms, sums"


def best(work: Callable[[], object], repeats: int = 4) -> float:
    """The quickest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.monotonic()
        work()
        times.append(time.monotonic() - started)
    return min(times[1:])


def timed_parts(network: Any, mix: torch.Tensor) -> dict[str, float]:
    """Seconds of one pass in each of `PARTS`, and in the rest."""
    spent = dict.fromkeys(PARTS, 0.0)
    begun = []

    def begin(*_: object) -> None:
        begun.append(time.monotonic())

    def end(part: str) -> Callable[..., None]:
        def add(*_: object) -> None:
            spent[part] += time.monotonic() - begun.pop()

        return add

    hooks = []
    for part, name in PARTS.items():
        for layer in layers(network, name):
            hooks += [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end(part))]
    started = time.monotonic()
    network(mix)
    whole = time.monotonic() - started
    for hook in hooks:
        hook.remove()
    return {**spent, REST: whole - sum(spent.values())}


def layers(network: Any, name: str) -> list[Any]:
    """The modules of that name that are called: the layers of a list, or the module itself."""
    module = getattr(network, name)
    return list(module) if hasattr(module, "__iter__") else [module]


def quickest(runs: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The parts of the run that took least in all."""
    return min(runs, key=lambda run: sum(run.values()))


def timed(network: Any, mix: torch.Tensor) -> float:
    """The quickest of several passes, in seconds."""
    with torch.inference_mode():
        return best(lambda: network(mix))


def timed_modes(load: Callable[[], Any], mix: torch.Tensor) -> tuple[dict[str, float], dict[str, Mapping[str, float]]]:
    """Seconds of the whole by mode, and of each part by mode."""
    whole, parts = {"Demucs as it comes": timed(load(), mix)}, {}
    configure_cpu(_cores())
    for mode in ("exact", "fast"):
        network = load()
        tune(network, CpuBoundary(), mode)
        whole[mode] = timed(network, mix)
        with torch.inference_mode():
            parts[mode] = quickest([timed_parts(network, mix) for _ in range(4)])
    return whole, parts


def main() -> None:
    """Print the tables."""
    bag = open_bag("htdemucs", Path(sys.argv[1]))
    mix = torch.randn(1, 2, 343980)
    torch.set_num_threads(_cores())

    def load() -> Any:
        return load_network(bag, bag.signatures[0])

    counter = counted(load(), mix)
    speeds = {"the BLAS, float32": product_speed()}
    whole, parts = timed_modes(load, mix)
    peak = speeds["as the engine chooses, float32"] = product_speed()
    speeds |= {"bfloat16": product_speed(torch.bfloat16), "attention, float32": attention_speed()}
    table(
        "Matrix products alone", ("kind", "GFLOP/s"), [[kind, f"{speed / 1e9:.0f}"] for kind, speed in speeds.items()]
    )
    counts = {name: float(sum(found.values())) for name, found in counter.get_flop_counts().items()}
    print_whole(whole, counter.get_total_flops(), peak)
    print_parts(parts, counts, counter.get_total_flops(), peak)


def counted(network: Any, mix: torch.Tensor) -> FlopCounterMode:
    """The operations of one pass, attention in single products: the counter does not know what is fused on a CPU."""
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(mix)
    torch.backends.mha.set_fastpath_enabled(True)
    return counter


def flops_in(counts: Mapping[str, float], name: str) -> float:
    """Those counted for a module, or for the layers of a list, which is never called itself."""
    own = (count for key, count in counts.items() if key.rpartition(".")[0] == name and key[len(name) + 1 :].isdigit())
    return counts.get(name) or sum(own)


def product_speed(dtype: torch.dtype = torch.float32, size: int = 2048) -> float:
    """Operations a second of a square matrix product."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b)


def attention_speed(heads: int = 8, positions: int = 2688, width: int = 64) -> float:
    """Operations a second of the largest attention of a segment, in float32; its softmax counts as none."""
    query, key = torch.randn(1, heads, positions, width), torch.randn(1, heads, positions, width)
    taken = best(lambda: functional.scaled_dot_product_attention(query, key, key))
    return 4 * heads * positions**2 * width / taken


def print_whole(seconds: Mapping[str, float], flops: float, peak: float) -> None:
    """Each mode's whole segment against the peak."""
    limit = flops / peak
    cells = [[name, f"{s:.2f}", f"{flops / s / 1e9:.0f}", f"{100 * limit / s:.0f} %"] for name, s in seconds.items()]
    print(
        f"\n{flops / 1e9:.0f} GFLOP a segment of 7.8 s; peak {peak / 1e9:.0f} GFLOP/s in float32: {limit:.2f} s at best"
    )
    table("One htdemucs segment", ("mode", "s", "GFLOP/s", "share of the float32 peak"), cells)


def print_parts(
    parts: Mapping[str, Mapping[str, float]], counts: Mapping[str, float], flops: float, peak: float
) -> None:
    """Where a segment's time goes, beside what its products alone take at the peak."""
    products = {part: flops_in(counts, f"HTDemucs.{name}") for part, name in PARTS.items()}
    products[REST] = flops - sum(products.values())
    rows = [
        [part, f"{count / 1e9:.0f}", f"{count / peak:.3f}", *(f"{parts[mode][part]:.3f}" for mode in parts)]
        for part, count in products.items()
    ]
    table("Where its time goes", ("part", "GFLOP", "s at the float32 peak", *(f"{mode} s" for mode in parts)), rows)


if __name__ == "__main__":
    main()
