"""The modules that compute a network's gradients: itself and others on its weights, a thread each, or one in bfloat16.

Owns their weights and gradients. What is computed, and the optimiser, are `training`'s.
"""

import copy

import torch


class Replicas:
    """`modules` compute gradients; `gather` leaves them in the network, `spread` tells them its new weights."""

    def __init__(self, network: torch.nn.Module, parts: int = 1, halved: bool = False) -> None:
        self.network = network
        self.own = [halved_copy(network)] if halved else []
        self.shared = [] if halved else [twin(network) for _ in range(parts - 1)]
        self.modules = self.own or [network, *self.shared]

    @torch.no_grad()
    def gather(self) -> None:
        """Add the replicas' gradients to the network's own, in a fixed order."""
        for other in (*self.own, *self.shared):
            for mine, theirs in zip(self.network.parameters(), other.parameters(), strict=True):
                if theirs.grad is not None:
                    mine.grad = theirs.grad.to(mine.dtype) if mine.grad is None else mine.grad + theirs.grad
                theirs.grad = None

    @torch.no_grad()
    def spread(self) -> None:
        """Give the network's weights to the replicas that have weights of their own."""
        for other in self.own:
            for mine, theirs in zip(self.network.parameters(), other.parameters(), strict=True):
                theirs.copy_(mine)


def twin(network: torch.nn.Module) -> torch.nn.Module:
    """Another module on the same weights, with gradients of its own."""
    other = copy.deepcopy(network)
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        theirs.data = mine.data
    return other


def halved_copy(network: torch.nn.Module) -> torch.nn.Module:
    """The network in bfloat16, whose layers take any input: a fifth less memory traffic than autocast, which keeps
    norms, sums and gates in float32."""
    other = copy.deepcopy(network).bfloat16()
    for module in other.modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_pre_hook(_rounded)
    return other


def _rounded(_module: torch.nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        value.bfloat16() if isinstance(value, torch.Tensor) and value.is_floating_point() else value for value in inputs
    )
