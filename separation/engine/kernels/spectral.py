"""The way back from spectrogram to samples, one source at a time and without strided transforms.

Does what `_ispec` of HTDemucs and HDemucs does around `torch.istft`: a Hann window, hop a quarter of it, the
edges padded by one and a half hops. All sources at once, as they do it, hold six copies of the spectrograms.
HDemucs's `hybrid_old`, which networks of the Music Demixing Challenge have, leaves that padding in: so does this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from separation.engine.kernels.stretches import stretches

FRAMES_OVER = 2


def can_invert(network: Any) -> bool:
    """Whether the network's output is complex as channels, with the usual hop and padding."""
    usual = bool(getattr(network, "cac", False)) and bool(getattr(network, "hybrid", True))
    return usual and network.hop_length * 4 == network.nfft


class Inverse:
    """The inverse transform of one network."""

    def __init__(self, network: Any) -> None:
        self._size = int(network.nfft)
        self._hop = int(network.hop_length)
        # istft drops half a window at the start, the network its padding of one and a half hops.
        padding = 0 if getattr(network, "hybrid_old", False) else self._hop // 2 * 3
        self._start = self._size // 2 + padding
        self._envelopes: dict[int, torch.Tensor] = {}

    def __call__(
        self, sources: Iterable[torch.Tensor], phase: torch.Tensor | None, length: int
    ) -> Iterator[torch.Tensor]:
        """Each source's samples (audio channels, length).

        A source is (2 x audio channels, bins, frames), real and imaginary parts in turn; or, with `phase` (complex,
        of magnitude 1), magnitudes (audio channels, bins, frames).
        """
        spectrum: torch.Tensor | None = None  # one for all: a fresh one for each lies elsewhere, and memory grows
        for values in sources:
            if spectrum is None:
                count, bins, frames = values.shape
                spectrum = torch.zeros(
                    count if phase is not None else count // 2, frames, bins + 1, dtype=torch.complex64
                )
            _fill(spectrum[:, :, :-1], values, phase)
            yield self._samples(spectrum, length)

    def _samples(self, spectrum: torch.Tensor, length: int) -> torch.Tensor:
        """(audio channels, frames, bins), the highest one included, to (audio channels, length)."""
        total = self._overlap_add(spectrum)
        kept = slice(self._start, self._start + length)
        return total[:, kept] / self._envelope(spectrum.shape[1])[kept]

    def _overlap_add(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(audio channels, frames, bins) to (audio channels, samples), with silent frames on both sides."""
        audio, frames, _ = spectrum.shape
        window = torch.hann_window(self._size)
        total = torch.zeros(audio, frames + 2 * FRAMES_OVER + 3, self._hop)
        for part in stretches(frames, 2 * audio * self._size):
            waves = torch.fft.irfft(spectrum[:, part], n=self._size, norm="ortho")
            waves *= window
            for number, quarter in enumerate(waves.view(audio, -1, 4, self._hop).unbind(2), start=FRAMES_OVER):
                total[:, number + part.start : number + part.stop] += quarter
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


def _fill(spectrum: torch.Tensor, values: torch.Tensor, phase: torch.Tensor | None) -> None:
    """Write one source into a spectrum (audio channels, frames, bins)."""
    if phase is None:
        torch.view_as_real(spectrum).copy_(values.unflatten(0, (-1, 2)).permute(0, 3, 2, 1))
    else:
        torch.mul(phase.transpose(1, 2), values.transpose(1, 2), out=spectrum)


def install_inverse(network: Any) -> None:
    """Let a network with complex-as-channels output use an `Inverse` where it calls `_ispec`. CPU only."""
    inverse = Inverse(network)

    def invert(channels: torch.Tensor, length: int, _scale: int = 0) -> torch.Tensor:
        """(batch, sources, 2 x audio channels, bins, frames) to (batch, sources, audio channels, length)."""
        batch, sources, both = channels.shape[:3]
        out = channels.new_empty(batch, sources, both // 2, length)
        for item in range(batch):
            for samples, made in zip(out[item], inverse(channels[item], None, length), strict=True):
                samples.copy_(made)
        return out

    network._mask = lambda _spectrum, channels: channels
    network._ispec = invert
