"""Where networks run: threads and kernels of the CPU, or a GPU with its memory.

Owns the placing of a network, the size of a batch, and what happens when the GPU runs out of memory: half the
batch, and at one segment the CPU, both on record. The GPU is reached through `Boundary`, so that the
steps can be tested without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from separation.engine.errors import EngineError
from separation.engine.kernels.install import install_exact, install_fast
from separation.errors import ReasonCode

MAX_BATCH, MAX_BATCH_SECONDS = 16, 128.0
SHARE_OF_FREE = 0.8
FLOAT32_ERROR = 1e-5


class Boundary(Protocol):
    """What the engine asks of a device."""

    name: str

    def free_bytes(self) -> int | None:
        """Memory that can still be had; None when a batch of one is best."""

    def place(self, network: Any) -> Any:
        """The network, on the device."""

    def forward(self, network: Any, mix: torch.Tensor) -> torch.Tensor:
        """One pass; input and output are on the CPU."""

    def is_out_of_memory(self, error: BaseException, /) -> bool:
        """Whether the error says that the device's memory ran out."""

    def release(self) -> None:
        """Give back what is cached."""


class CpuBoundary:
    """The CPU. Two segments in one batch are slower here than one after the other."""

    name = "cpu"

    def free_bytes(self) -> int | None:
        return None

    def place(self, network: Any) -> Any:
        return network.to("cpu")

    def forward(self, network: Any, mix: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(mix)

    def is_out_of_memory(self, _error: BaseException, /) -> bool:
        return False

    def release(self) -> None:
        """Nothing is cached."""


class TorchBoundary:
    """A CUDA or MPS device."""

    def __init__(self, name: str) -> None:
        self.name = name

    def free_bytes(self) -> int | None:
        if self.name.startswith("cuda"):
            return self._free_on_cuda()
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())

    def place(self, network: Any) -> Any:
        return network.to(self.name)

    def forward(self, network: Any, mix: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return network(mix.to(self.name, non_blocking=True)).cpu()

    def is_out_of_memory(self, error: BaseException, /) -> bool:
        said = str(error).lower()  # cuBLAS, cuDNN and cuFFT say that an allocation failed
        return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "alloc_failed" in said

    def release(self) -> None:
        torch.cuda.empty_cache() if self.name.startswith("cuda") else torch.mps.empty_cache()

    def _free_on_cuda(self) -> int:
        """Where not even this process's own part of the driver fits, nothing is free."""
        try:
            return int(torch.cuda.mem_get_info(self.name)[0])
        except RuntimeError as error:
            if not self.is_out_of_memory(error):
                raise
            return 0


def open_boundary(device: str) -> Boundary:
    """The device of that name. Raises `EngineError` (device_unavailable): never silently another."""
    if not _is_there(device):
        raise EngineError(ReasonCode.DEVICE_UNAVAILABLE, f"There is no device “{device}” on this server.")
    return CpuBoundary() if torch.device(device).type == "cpu" else TorchBoundary(device)


def _is_there(device: str) -> bool:
    try:
        named = torch.device(device)
    except RuntimeError:
        return False
    if named.type == "cuda":
        return torch.cuda.is_available() and (named.index or 0) < torch.cuda.device_count()
    return named.type == "cpu" or (named.type == "mps" and torch.backends.mps.is_available())


def fitting_batch(free: int | None, segment_bytes: int, seconds: float) -> int:
    """How many segments of `segment_bytes` and so many `seconds` fit into a safe share of the free memory; at least
    one. What a batch takes of the host's memory, several times its samples, is bounded by its seconds."""
    if free is None:
        return 1
    fitting = int(free * SHARE_OF_FREE) // max(1, segment_bytes)
    return max(1, min(MAX_BATCH, int(MAX_BATCH_SECONDS / seconds), fitting))


@dataclass
class Executor:
    """Runs one network on a device, stepping down when its memory runs out. `steps` records each step."""

    network: Any
    boundary: Boundary
    batch: int = 1
    fallback: Callable[[], Boundary] = CpuBoundary
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.network = self.boundary.place(self.network)
        except RuntimeError as error:
            if not self.boundary.is_out_of_memory(error):
                raise
            self._fall_back()

    def __call__(self, mix: torch.Tensor) -> torch.Tensor:
        """(batch, channels, n) to (batch, sources, channels, n), both on the CPU."""
        parts = []
        while len(mix):
            part = self._try(mix[: self.batch])
            if part is not None:
                parts.append(part)
                mix = mix[len(part) :]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _try(self, mix: torch.Tensor) -> torch.Tensor | None:
        try:
            return self.boundary.forward(self.network, mix)
        except RuntimeError as error:
            if not self.boundary.is_out_of_memory(error):
                raise
        self._step_down()
        return None

    def _step_down(self) -> None:
        if self.batch > 1:
            self.boundary.release()
            self.batch //= 2
            self.steps.append(f"batch {self.batch} on {self.boundary.name}")
            return
        self._fall_back()

    def _fall_back(self) -> None:
        self.boundary.release()
        self.boundary, self.batch = self.fallback(), 1
        self.network = self.boundary.place(self.network)
        self.steps.append(self.boundary.name)


def configure_cpu(threads: int) -> dict[str, Any]:
    """Set torch up for this run and say what is in effect."""
    torch.set_num_threads(threads)
    torch.backends.mha.set_fastpath_enabled(False)
    return {"threads": torch.get_num_threads(), "matmul_precision": choose_matmul_precision()}


def choose_matmul_precision() -> str:
    """Let oneDNN multiply matrices ("medium") where it still does so in float32; "highest" where it does not.

    On processors with AVX-512 it is float32 and much faster than the BLAS; with AMX or on some Arm it becomes
    bfloat16, which an exact run must not.
    """
    left = torch.linspace(-1, 1, 256 * 512).reshape(256, 512).cos()
    right = torch.linspace(0, 9, 512 * 512).reshape(512, 512).sin()
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    error = ((left @ right).double() - exact).abs().max() / exact.abs().max()
    if error > FLOAT32_ERROR:
        torch.set_float32_matmul_precision("highest")
    return torch.get_float32_matmul_precision()


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of products and convolutions to TF32's 10 bits, as torch lets convolutions
    do if not told otherwise. Batches of other sizes then round differently, by 3e-4 of the peak on an H100."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")


def tune(network: Any, boundary: Boundary, mode: str) -> dict[str, Any]:
    """Put the CPU's faster kernels into the network, or set a GPU's precision; says what is in effect."""
    if boundary.name != "cpu":
        allow_tf32(mode == "fast")
        return {"bfloat16": False, "tf32": mode == "fast", "kernels": []}
    half = mode == "fast" and has_fast_bfloat16()
    with torch.no_grad():
        kernels = install_fast(network) if half else install_exact(network)
    return {"bfloat16": half, "kernels": kernels}
