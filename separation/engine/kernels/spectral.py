"""The way back from spectrogram to samples, one source at a time and without strided transforms.

Does what `_ispec` of HTDemucs and HDemucs does around `torch.istft`: a Hann window, hop a quarter of it, the
edges padded by one and a half hops. All sources at once, as they do it, hold six copies of the spectrograms.
"""

from __future__ import annotations

from typing import Any

import torch

FRAMES_OVER = 2


def can_invert(network: Any) -> bool:
    """Whether the network's output is complex as channels, with the usual hop."""
    return bool(getattr(network, "cac", False)) and network.hop_length * 4 == network.nfft


class Inverse:
    """The inverse transform of one network."""

    def __init__(self, network: Any) -> None:
        self._size = int(network.nfft)
        self._hop = int(network.hop_length)
        self._envelopes: dict[int, torch.Tensor] = {}

    def __call__(self, values: torch.Tensor, phase: torch.Tensor | None, length: int) -> torch.Tensor:
        """One source's samples (audio channels, length).

        `values` are (2 x audio channels, bins, frames), real and imaginary parts in turn; or, with `phase` (complex,
        of magnitude 1), magnitudes (audio channels, bins, frames).
        """
        bins, frames = values.shape[-2:]
        if phase is None:
            values = values.view(-1, 2, bins, frames)
        spectrum = torch.zeros(len(values), frames, bins + 1, 2)
        parts = values.permute(0, 3, 2, 1) if phase is None else torch.view_as_real((phase * values).transpose(1, 2))
        spectrum[:, :, :bins] = parts
        waves = torch.fft.irfft(torch.view_as_complex(spectrum), n=self._size, norm="ortho")
        waves *= torch.hann_window(self._size)
        total = self._overlap_add(waves)
        # istft drops half a window at the start, the network its padding of one and a half hops.
        start = self._size // 2 + self._hop // 2 * 3
        return total[:, start : start + length] / self._envelope(frames)[start : start + length]

    def _overlap_add(self, waves: torch.Tensor) -> torch.Tensor:
        """(audio channels, frames, size) to (audio channels, samples), with silent frames on both sides."""
        audio, frames, _ = waves.shape
        quarters = waves.view(audio, frames, 4, self._hop)
        total = waves.new_zeros(audio, frames + 2 * FRAMES_OVER + 3, self._hop)
        for quarter in range(4):
            first = FRAMES_OVER + quarter
            total[:, first : first + frames] += quarters[:, :, quarter]
        return total.view(audio, -1)

    def _envelope(self, frames: int) -> torch.Tensor:
        """The sum of squared windows at each sample, silent frames included as `torch.istft` includes them."""
        found = self._envelopes.get(frames)
        if found is None:
            count = frames + 2 * FRAMES_OVER
            squares = torch.hann_window(self._size).square().view(4, self._hop)
            total = torch.zeros(count + 3, self._hop)
            for quarter in range(4):
                total[quarter : quarter + count] += squares[quarter]
            found = total.view(-1)
            self._envelopes = {frames: found}  # one assignment: segments may be computed side by side
        return found


def install_inverse(network: Any) -> None:
    """Let a network with complex-as-channels output use an `Inverse` where it calls `_ispec`. CPU only."""
    inverse = Inverse(network)

    def invert(channels: torch.Tensor, length: int, _scale: int = 0) -> torch.Tensor:
        """(batch, sources, 2 x audio channels, bins, frames) to (batch, sources, audio channels, length)."""
        batch, sources, both = channels.shape[:3]
        out = channels.new_empty(batch, sources, both // 2, length)
        for item in range(batch):
            for source in range(sources):
                out[item, source] = inverse(channels[item, source], None, length)
        return out

    network._mask = lambda _spectrum, channels: channels
    network._ispec = invert
