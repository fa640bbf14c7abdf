"""Parts of a trained network that nothing is learnt in any more (`health.idle`), drawn anew so that they can learn.

Owns how they are drawn. Which parts, and how they learn then, is for whoever trains.
"""

from collections.abc import Sequence

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

from separation.starter.network import build


def redrawn(network: nn.Module, parts: Sequence[str], mixtures: Tensor) -> HTDemucs:
    """The network with the parts of these names (`decoder.0`, `crosstransformer.layers`) drawn at random.

    Their convolutions are scaled by `mixtures`, (batch, channels, samples), and their transposed ones begin at zero:
    a decoder adds what it always did, whatever it hears, and random sound does not teach its gates to shut again.
    Raises ValueError for a part that is none.
    """
    fresh = build()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for part in parts:
        state |= _drawn(fresh, part)
    fresh.load_state_dict(state)
    _settle(fresh, parts, mixtures)
    return fresh


def _drawn(fresh: nn.Module, part: str) -> dict[str, Tensor]:
    """The tensors of a part of a new network, without what its decoders add always; what they make of sound is zero."""
    drawn = {name: value.clone() for name, value in fresh.state_dict().items() if name.startswith(f"{part}.")}
    if not drawn:
        raise ValueError(f"The network has no part {part}: try {_parts(fresh)}")
    for name in drawn:
        if name.endswith("conv_tr.weight"):
            drawn[name].zero_()
    return {name: value for name, value in drawn.items() if not name.endswith("conv_tr.bias")}


def _settle(network: nn.Module, parts: Sequence[str], mixtures: Tensor) -> None:
    """Scale and shift the convolutions around the gates of `parts`, one after the other, to channels of mean 0 and
    deviation 1 (Mishkin and Matas 2016): as drawn, next to nothing of a mixture arrives behind the third layer."""
    network.eval()
    for name, module in network.named_modules():
        named = name.startswith(_prefixes(parts)) and name.endswith((".conv", ".rewrite"))
        if named and isinstance(module, nn.Conv1d | nn.Conv2d):
            _standardise(network, module, mixtures)
    network.train()


@torch.no_grad()
def _standardise(network: nn.Module, layer: nn.Conv1d | nn.Conv2d, mixtures: Tensor) -> None:
    heard: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: heard.append(output))
    network(mixtures)
    hook.remove()
    channels = heard[0].transpose(0, 1).flatten(1)
    scale = 1 / channels.std(dim=1).clamp_min(1e-6)
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - channels.mean(dim=1)) * scale)
    layer.weight.mul_(scale.reshape(-1, *[1] * (layer.weight.dim() - 1)))


def _prefixes(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{part}." for part in parts)


def _parts(network: nn.Module) -> str:
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in network.state_dict()))
