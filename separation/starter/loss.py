"""What training lowers: how far estimates are from the stems, close to how they are judged afterwards.

Owns the loss. The figures themselves are `evaluation`'s.
"""

from collections.abc import Sequence

import torch

L1_SHARE = 20.0
FLOOR = 1e-3  # of the mixture's power: errors 30 dB below it count as none, and silent stems have a value
TINY = 1e-8
EVEN = (1.0, 1.0, 1.0, 1.0)


def separation_loss(estimates: torch.Tensor, stems: torch.Tensor, emphasis: Sequence[float] = EVEN) -> torch.Tensor:
    """The mean over (batch, sources, channels, samples) of an error that each stem has its `emphasis` in, a scalar.

    A thresholded log ratio of error to stem (Wisdom et al. 2020, eq. 4), in bels, which is the negative SDR until
    the error is 30 dB below the mixture; and L1, which loud passages dominate and quiet ones steady.
    """
    floor = FLOOR * stems.sum(dim=1, keepdim=True).square().mean(dim=(2, 3)) + TINY
    error = (estimates - stems).square().mean(dim=(2, 3)) + floor
    power = stems.square().mean(dim=(2, 3)) + floor
    each = (error.log10() - power.log10()) + L1_SHARE * (estimates - stems).abs().mean(dim=(2, 3))
    shares = torch.tensor(emphasis, device=each.device) / sum(emphasis)
    return (each * shares).sum(dim=1).mean()
