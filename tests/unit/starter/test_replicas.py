"""Replicas: the gradients they leave, and the weights they compute with."""

import pytest
import torch

from separation.starter.network import build
from separation.starter.replicas import Replicas, halved_copy


def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    return build(channels=4, channels_time=4, depth=2, nfft=512, t_layers=0, dconv_depth=1).train()


def gradients(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


@pytest.fixture
def mixture() -> torch.Tensor:
    torch.manual_seed(1)
    return 0.1 * torch.randn(2, 2, 11_025)


def test_a_halved_copy_computes_in_bfloat16_what_the_network_computes(mixture: torch.Tensor) -> None:
    network = tiny()
    exact, rounded = network(mixture), halved_copy(network)(mixture)
    assert 0 < (exact - rounded).abs().max() < 0.05 * exact.abs().max()


def test_a_halved_copy_leaves_its_gradients_in_the_network(mixture: torch.Tensor) -> None:
    network, reference = tiny(), tiny()
    replicas = Replicas(network, halved=True)
    replicas.modules[0](mixture).square().sum().backward()
    replicas.gather()
    reference(mixture).square().sum().backward()
    pair = gradients(network), gradients(reference)
    assert pair[0].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*pair, dim=0) > 0.99


def test_a_halved_copy_computes_with_the_weights_spread_last(mixture: torch.Tensor) -> None:
    network = tiny()
    replicas = Replicas(network, halved=True)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(0.5)
        before = replicas.modules[0](mixture)
        replicas.spread()
        assert not torch.equal(replicas.modules[0](mixture), before)
        assert torch.equal(replicas.modules[0](mixture), halved_copy(network)(mixture))


def test_gradients_are_gathered_once(mixture: torch.Tensor) -> None:
    network = tiny()
    replicas = Replicas(network, parts=2)
    for module in replicas.modules:
        module(mixture).square().sum().backward()
    replicas.gather()
    once = gradients(network)
    replicas.gather()
    assert torch.equal(gradients(network), once)
