"""Placing networks and batches on a device, through a fake one: how much fits, and stepping down when it does not."""

import pytest
import torch

from separation.engine.device import (
    MAX_BATCH,
    CpuBoundary,
    Executor,
    TorchBoundary,
    fitting_batch,
    open_boundary,
    tune,
)
from separation.engine.errors import EngineError

GIB = 1024**3


class FakeGpu:
    """Holds at most `room` segments at a time."""

    name = "fake:0"

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []
        self.released = 0

    def free_bytes(self):
        return 8 * GIB

    def place(self, network):
        return network

    def forward(self, network, mix):
        self.sizes.append(len(mix))
        if len(mix) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(mix)

    def is_out_of_memory(self, error, /):
        return isinstance(error, torch.OutOfMemoryError)

    def release(self):
        self.released += 1


class Doubling(torch.nn.Module):
    def forward(self, mix):
        return torch.stack([mix, 2 * mix], 1)


def test_a_batch_fills_a_safe_share_of_the_free_memory():
    assert fitting_batch(10 * GIB, 2 * GIB, 7.8) == 4
    assert fitting_batch(GIB, 2 * GIB, 7.8) == 1
    assert fitting_batch(1000 * GIB, GIB, 7.8) == MAX_BATCH


def test_long_segments_make_small_batches_since_the_host_holds_all_of_one():
    assert fitting_batch(1000 * GIB, GIB, 44.0) == 2
    assert fitting_batch(1000 * GIB, GIB, 600.0) == 1


def test_the_cpu_takes_one_segment_at_a_time():
    assert fitting_batch(CpuBoundary().free_bytes(), GIB, 7.8) == 1


def test_out_of_memory_halves_the_batch_and_goes_on():
    gpu = FakeGpu(room=2)
    executor = Executor(Doubling(), gpu, batch=8)
    mix = torch.arange(24.0).reshape(8, 1, 3)
    assert torch.equal(executor(mix), Doubling()(mix))
    assert executor.steps == ["batch 4 on fake:0", "batch 2 on fake:0"]
    assert gpu.sizes == [8, 4, 2, 2, 2, 2]
    assert gpu.released == 2


def test_out_of_memory_with_one_segment_moves_to_the_cpu_on_record():
    executor = Executor(Doubling(), FakeGpu(room=0), batch=2)
    mix = torch.ones(2, 1, 3)
    assert torch.equal(executor(mix), Doubling()(mix))
    assert executor.steps == ["batch 1 on fake:0", "cpu"]
    assert executor.boundary.name == "cpu"


def test_a_device_too_full_for_the_network_leaves_it_to_the_cpu_on_record():
    class Full(FakeGpu):
        def place(self, network):
            raise torch.OutOfMemoryError("CUDA out of memory")

    gpu = Full(room=8)
    executor = Executor(Doubling(), gpu, batch=4)
    mix = torch.ones(2, 1, 3)
    assert torch.equal(executor(mix), Doubling()(mix))
    assert (executor.steps, executor.batch, gpu.sizes, gpu.released) == (["cpu"], 1, [], 1)


def test_a_device_that_cannot_take_the_network_for_another_reason_is_an_error():
    class Broken(FakeGpu):
        def place(self, network):
            raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="kernel image"):
        Executor(Doubling(), Broken(room=8), batch=4)


@pytest.mark.parametrize(
    "said",
    ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUFFT_ALLOC_FAILED"],
)
def test_exhaustion_is_recognised_as_the_driver_and_its_libraries_tell_it(said):
    boundary = TorchBoundary("cuda")
    assert boundary.is_out_of_memory(RuntimeError(f"cuda: {said} when calling it"))
    assert not boundary.is_out_of_memory(RuntimeError("device-side assert triggered"))


def test_another_error_of_the_device_is_not_swallowed():
    class Broken(FakeGpu):
        def forward(self, network, mix):
            raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="assert"):
        Executor(Doubling(), Broken(1), batch=2)(torch.ones(1, 1, 3))


@pytest.mark.parametrize("device", ["cuda", "cuda:99", "cuda:x", "mps", "tpu", "auto", ""])
def test_a_device_that_is_not_there_is_an_error(device):
    if device == "cuda" and torch.cuda.is_available():
        device = "cuda:99"
    with pytest.raises(EngineError, match="no device"):
        open_boundary(device)


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield lambda: (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_exact_mode_keeps_a_gpu_in_float32(precision):
    torch.set_float32_matmul_precision("medium")  # as a CPU may be set up
    assert tune(None, FakeGpu(1), "exact")["tf32"] is False
    assert precision() == ("highest", False)


def test_fast_mode_lets_a_gpu_use_tf32(precision):
    assert tune(None, FakeGpu(1), "fast")["tf32"] is True
    assert precision() == ("high", True)
