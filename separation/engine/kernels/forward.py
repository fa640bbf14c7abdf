"""The forward pass of an `HTDemucs` for inference, holding less at a time.

Same computation as the class's own: spectrogram and waveform branch, both normalised, through the encoders, the
transformer and the decoders, and their sum. The last step is done source by source: scaling, masking and the inverse
transform of all sources at once hold a dozen copies of their spectrograms. CPU only.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.nn import functional as F

from separation.engine.kernels.spectral import Inverse

EPSILON = 1e-5
PHASE_EPSILON = 1e-8


def can_forward(network: Any) -> bool:
    """Whether the network is an HTDemucs whose output is complex as channels, or magnitudes without Wiener filter."""
    if type(network).__name__ != "HTDemucs" or network.hop_length * 4 != network.nfft:
        return False
    return bool(network.cac or network.wiener_iters < 0)


def install_forward(network: Any) -> None:
    """Let the network use this forward pass."""
    inverse = Inverse(network)
    network.forward = MethodType(lambda self, mix: forward(self, inverse, mix), network)


def forward(network: Any, inverse: Inverse, mix: torch.Tensor) -> torch.Tensor:
    """(batch, channels, n) to (batch, sources, channels, n)."""
    given = mix.shape[-1]
    if network.use_train_segment:
        mix = F.pad(mix, (0, max(0, int(network.segment * network.samplerate) - given)))
    spectrum = network._spec(mix)
    x, level, spread = _normalised(network._magnitude(spectrum), (1, 2, 3))
    phase = None if network.cac else spectrum / (PHASE_EPSILON + spectrum.abs())
    del spectrum
    bins, frames = x.shape[2:]
    xt, level_t, spread_t = _normalised(mix, (1, 2))
    x, xt = _through(network, x, xt)
    sources = len(network.sources)
    out = xt.view(len(mix), sources, -1, mix.shape[-1]) * spread_t[:, None] + level_t[:, None]
    x = x.view(len(mix), sources, -1, bins, frames)
    for item in range(len(mix)):
        scaled = (source * spread[item] + level[item] for source in x[item])
        made = inverse(scaled, None if phase is None else phase[item], mix.shape[-1])
        for samples, added in zip(out[item], made, strict=True):
            samples += added
    return out[..., :given]


def _normalised(x: torch.Tensor, dims: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean, std = x.mean(dims, keepdim=True), x.std(dims, keepdim=True)
    return (x - mean) / (EPSILON + std), mean, std


def _through(network: Any, x: torch.Tensor, xt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both branches through encoders, transformer and decoders."""
    skips: list[torch.Tensor] = []
    skips_t: list[torch.Tensor] = []
    lengths_t: list[int] = []
    lengths: list[int] = []
    for index, encode in enumerate(network.encoder):
        inject = None
        lengths.append(x.shape[-1])
        if index < len(network.tencoder):
            lengths_t.append(xt.shape[-1])
            xt = network.tencoder[index](xt)
            if network.tencoder[index].empty:
                inject = xt
            else:
                skips_t.append(xt)
        x = encode(x, inject)
        if index == 0 and network.freq_emb is not None:
            rows = network.freq_emb(torch.arange(x.shape[-2])).t()
            x += network.freq_emb_scale * rows[None, :, :, None]
        skips.append(x)
    if network.crosstransformer:
        x, xt = _transform(network, x.float(), xt)
    alone = len(network.decoder) - len(network.tdecoder)
    for index, decode in enumerate(network.decoder):
        x, before = decode(x, skips.pop(), lengths.pop())
        if index >= alone:
            decode_t = network.tdecoder[index - alone]
            if decode_t.empty:
                xt, _ = decode_t(before[:, :, 0], None, lengths_t.pop())
            else:
                xt, _ = decode_t(xt, skips_t.pop(), lengths_t.pop())
    return x, xt


def _transform(network: Any, x: torch.Tensor, xt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not network.bottom_channels:
        return network.crosstransformer(x, xt)
    rows, frames = x.shape[2:]
    x = network.channel_upsampler(x.flatten(2)).unflatten(2, (rows, frames))
    x, xt = network.crosstransformer(x, network.channel_upsampler_t(xt))
    x = network.channel_downsampler(x.flatten(2)).unflatten(2, (rows, frames))
    return x, network.channel_downsampler_t(xt)
