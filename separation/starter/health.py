"""What tells that a training goes wrong: parts that nothing is learnt in, gradients that are not the loss's.

Owns these checks, and what is kept out of bfloat16. The optimisation is `training`'s.
"""

import numpy as np
import torch
from torch import Tensor, nn

from separation.starter.data import CLIP_SECONDS, FIRST_SEED
from separation.starter.loss import separation_loss
from separation.starter.synthesis import synthesise

AGREEMENT = 0.98
"""The least cosine of the gradient in bfloat16 with that in float32; 0.9996 and more where both are right."""

UNHEARD = 1e-9
"""The share of the whole gradient that a matrix has at least, if anything is learnt in it."""


class _OutsideAutocast:
    """Mixed into a layer: it computes in float32, whatever the network around it does."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            result: Tensor = super().forward(x.float(), output_size)  # type: ignore[misc]
            return result


class _Exact1d(_OutsideAutocast, nn.ConvTranspose1d):
    pass


class _Exact2d(_OutsideAutocast, nn.ConvTranspose2d):
    pass


def keep_exact(network: nn.Module) -> None:
    """Take the transposed convolutions out of autocast, for good.

    On processors with AMX, oneDNN computes another vector than the gradient of some of them in bfloat16 (torch 2.13:
    cosines of 0.07 and 0.26 with float32's for the starter's), and a training with it ends in infinity.
    """
    exact: dict[type[nn.Module], type[nn.Module]] = {nn.ConvTranspose1d: _Exact1d, nn.ConvTranspose2d: _Exact2d}
    for module in network.modules():
        module.__class__ = exact.get(type(module), type(module))


def examples(seconds: float) -> Tensor:
    """Songs to examine a network with, (2, sources, channels, samples), no longer than those of a training."""
    seconds = min(seconds, CLIP_SECONDS)
    return torch.from_numpy(np.stack([synthesise(FIRST_SEED + index, seconds) for index in range(2)]))


def gradient(network: nn.Module, stems: Tensor, half: bool) -> Tensor:
    """Of the loss on stems, (batch, sources, channels, samples), by every parameter: one vector."""
    network.zero_grad(set_to_none=True)
    with torch.autocast(stems.device.type, torch.bfloat16, enabled=half):
        estimates = network(stems.sum(dim=1))
    separation_loss(estimates.float(), stems).backward()
    return torch.cat([_gradient(parameter).flatten() for parameter in network.parameters()])


def agreement(network: nn.Module, stems: Tensor) -> float:
    """The cosine of the gradient in bfloat16, as far as it is used, with that in float32.

    Below `AGREEMENT` bfloat16 is not to be used at all.
    """
    keep_exact(network)
    whole, half = (gradient(network, stems, half) for half in (False, True))
    return float(nn.functional.cosine_similarity(whole, half, dim=0))


def idle(network: nn.Module, stems: Tensor) -> list[str]:
    """The names of the parts that stems teach nothing (`decoder.0`): a matrix in them has as good as no gradient.

    Gates that are shut for every input let nothing through, back or forth, and never open again.
    """
    least = UNHEARD * float(gradient(network, stems, half=False).norm())
    matrices = ((name, each) for name, each in network.named_parameters() if each.requires_grad and each.dim() > 1)
    return list(dict.fromkeys(_part(name) for name, value in matrices if float(_gradient(value).norm()) < least))


def _part(name: str) -> str:
    pieces = name.split(".")
    return ".".join(pieces[: 3 if pieces[0] == "crosstransformer" else 2])


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
