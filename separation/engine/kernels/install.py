"""Putting the faster kernels into a loaded network. Layers that none of them knows stay as they are."""

from __future__ import annotations

from typing import Any

import torch

from separation.engine.kernels.attention import can_replace, install_attention
from separation.engine.kernels.dconv import FoldedDConv, is_plain
from separation.engine.kernels.forward import can_forward, install_forward
from separation.engine.kernels.half import halve_attribute
from separation.engine.kernels.rows import RowDecoder, RowEncoder, can_use_decoder, can_use_encoder
from separation.engine.kernels.spectral import can_invert, install_inverse
from separation.engine.kernels.waves import WaveDecoder, WaveEncoder, can_squeeze, can_stretch

EDGE_LAYERS = 1
"""Outermost layers that stay in float32 in fast mode: they touch the samples themselves."""

WAVEFORM_EDGE_LAYERS = 3
"""Of the waveform encoder more do: in bfloat16 its outer layers lose the most accuracy, and are no faster."""

WAVES = 2
"""Waveform layers, from outside, whose intermediates are too large for the cache."""


def install_fast(network: Any) -> list[str]:
    """As `install_exact`, with the transformer and the inner convolutions in bfloat16."""
    done = install_exact(network, torch.bfloat16)
    count = _halve(network)
    if count:
        done.append(f"{count} convolutions in bfloat16")
    return done


def _halve(network: Any) -> int:
    """Transposed convolutions and the outermost layers cost more accuracy than they save time: left alone."""
    layers: list[Any] = list(getattr(network, "encoder", ()))[EDGE_LAYERS:]
    layers += list(getattr(network, "tencoder", ()))[WAVEFORM_EDGE_LAYERS:]
    for name in ("decoder", "tdecoder"):
        layers += list(getattr(network, name, ()))[:-EDGE_LAYERS]
    count = sum(halve_attribute(layer, name) for layer in layers for name in ("conv", "rewrite"))
    bottom = [f"channel_{way}sampler{branch}" for way in ("up", "down") for branch in ("", "_t")]
    return count + sum(halve_attribute(network, name) for name in bottom)


def install_exact(network: Any, dtype: torch.dtype = torch.float32) -> list[str]:
    """Replace what can be replaced without changing results beyond rounding; says what was replaced."""
    done = []
    if _fold_residuals(network):
        done.append("folded residual norms")
    if _use_rows(network, dtype):
        done.append("frequency layers by rows")
    if _use_waves(network, dtype):
        done.append("outer waveform layers by stretches")
    if can_forward(network):
        install_forward(network)
        done.append("sources finished one by one")
    elif can_invert(network):
        install_inverse(network)
        done.append("inverse transform by source")
    if _attend(network, dtype):
        done.append("sliced feed-forward")
    return done


def _attend(network: Any, dtype: torch.dtype) -> int:
    layers = [module for module in network.modules() if can_replace(module)]
    for layer in layers:
        install_attention(layer, dtype)
    return len(layers)


def _fold_residuals(network: Any) -> int:
    count = 0
    for module in list(network.modules()):
        dconv = getattr(module, "dconv", None)
        if type(dconv).__name__ == "DConv" and is_plain(dconv):
            module.dconv = FoldedDConv(dconv)
            count += 1
    return count


def _use_rows(network: Any, dtype: torch.dtype) -> int:
    encoders: Any = getattr(network, "encoder", ())
    decoders: Any = getattr(network, "decoder", ())
    whole = can_forward(network) and all(map(can_use_encoder, encoders)) and all(map(can_use_decoder, decoders))
    inner = dtype if whole else torch.float32  # layers that stay as they are take float32
    count = 0
    for index, layer in enumerate(encoders):
        if can_use_encoder(layer):
            encoders[index] = RowEncoder(layer, torch.float32 if index < EDGE_LAYERS else inner)
            count += 1
    for index, layer in enumerate(decoders):
        if can_use_decoder(layer):
            decoders[index] = RowDecoder(layer, torch.float32 if index >= len(decoders) - EDGE_LAYERS else inner)
            count += 1
    return count


def _use_waves(network: Any, dtype: torch.dtype) -> int:
    encoders: Any = getattr(network, "tencoder", ())
    decoders: Any = getattr(network, "tdecoder", ())
    outer = WAVES if dtype == torch.float32 else EDGE_LAYERS  # the next decoder is faster in bfloat16
    count = 0
    for index in range(min(WAVES, len(encoders))):
        if can_squeeze(encoders[index]):
            encoders[index] = WaveEncoder(encoders[index])
            count += 1
    for index in range(max(0, len(decoders) - outer), len(decoders)):
        if can_stretch(decoders[index]):
            decoders[index] = WaveDecoder(decoders[index])
            count += 1
    return count
