"""The way back from spectrogram to samples, one source at a time and without strided transforms.

Does what `_mask` and `_ispec` do for networks with complex-as-channels output: `torch.istft` with
a Hann window, hop a quarter of it, `normalized`. Their version holds six copies of all sources' spectrograms.
"""

from __future__ import annotations

from typing import Any

import torch

FRAMES_OVER = 2


def can_invert(network: Any) -> bool:
    """Whether the network's output is complex as channels, with the usual hop."""
    return bool(getattr(network, "cac", False)) and network.hop_length * 4 == network.nfft


class Inverse:
    """The inverse transform of one network; call it where the network calls `_ispec`."""

    def __init__(self, network: Any) -> None:
        self._size = int(network.nfft)
        self._hop = int(network.hop_length)
        self._envelopes: dict[int, torch.Tensor] = {}

    def __call__(self, channels: torch.Tensor, length: int) -> torch.Tensor:
        """(batch, sources, 2 x audio channels, bins, frames) to (batch, sources, audio channels, length)."""
        batch, sources, both, bins, frames = channels.shape
        pairs = channels.reshape(batch, sources, both // 2, 2, bins, frames)
        out = channels.new_empty(batch, sources, both // 2, length)
        for item in range(batch):
            for source in range(sources):
                out[item, source] = self._source(pairs[item, source], length)
        return out

    def _source(self, pairs: torch.Tensor, length: int) -> torch.Tensor:
        """(audio channels, 2, bins, frames) to (audio channels, length)."""
        audio, _, bins, frames = pairs.shape
        spectrum = torch.zeros(audio, frames, bins + 1, 2)
        spectrum[:, :, :bins] = pairs.permute(0, 3, 2, 1)
        waves = torch.fft.irfft(torch.view_as_complex(spectrum), n=self._size, norm="ortho")
        waves *= torch.hann_window(self._size)
        total = self._overlap_add(waves)
        # istft drops half a window at the start; the network pads by one and a half hops and drops that too.
        start = self._size // 2 + self._hop // 2 * 3
        return total[:, start : start + length] / self._envelope(frames)[start : start + length]

    def _overlap_add(self, waves: torch.Tensor) -> torch.Tensor:
        """(…, frames, size) to (…, samples), with `FRAMES_OVER` silent frames on both sides."""
        audio, frames, _ = waves.shape
        quarters = waves.view(audio, frames, 4, self._hop)
        total = waves.new_zeros(audio, frames + 2 * FRAMES_OVER + 3, self._hop)
        for quarter in range(4):
            first = FRAMES_OVER + quarter
            total[:, first : first + frames] += quarters[:, :, quarter]
        return total.view(audio, -1)

    def _envelope(self, frames: int) -> torch.Tensor:
        """The sum of squared windows at each sample, silent frames included as `torch.istft` includes them."""
        if frames not in self._envelopes:
            count = frames + 2 * FRAMES_OVER
            squares = torch.hann_window(self._size).square().view(4, self._hop)
            total = torch.zeros(count + 3, self._hop)
            for quarter in range(4):
                total[quarter : quarter + count] += squares[quarter]
            self._envelopes = {frames: total.view(-1)}
        return self._envelopes[frames]


def install_inverse(network: Any) -> None:
    """Let the network use an `Inverse`. On the CPU only: on a GPU the whole transform at once is better."""
    inverse = Inverse(network)
    network._mask = lambda _z, channels: channels
    network._ispec = lambda channels, length=None, _scale=0: inverse(channels, length)
