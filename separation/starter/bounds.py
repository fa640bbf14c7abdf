"""What no network can pass that shares each bin of the mixture's spectrogram out, and has no phases of its own.

Owns that bound. It is why the starter's window is as long as it is: a bin of a shorter one holds several notes at once.
"""

import torch

from separation.starter.synthesis.signal import Signal


def with_the_mixtures_phases(stems: Signal, window: int) -> Signal:
    """(4, 2, samples) to the nearest estimates, of the same shape, whose bins have the mixture's phase or its opposite.

    The real factor of each bin that leaves the least error, with Hann windows of `window` samples a quarter apart.
    """
    if window < 16 or window & (window - 1):
        raise ValueError(f"A window has a power of two of samples, at least 16; {window} is none")
    spectra = _spectra(torch.from_numpy(stems), window)
    mixture = spectra.sum(dim=0)
    direction = mixture / mixture.abs().clamp_min(1e-12)
    return _signals((spectra * direction.conj()).real * direction, window, stems.shape[-1]).numpy()


def _spectra(stems: torch.Tensor, window: int) -> torch.Tensor:
    """(4, 2, samples) to (4, 2, bins, frames)."""
    flat = torch.stft(stems.flatten(0, 1), window, window // 4, window=torch.hann_window(window), return_complex=True)
    return flat.unflatten(0, stems.shape[:2])


def _signals(spectra: torch.Tensor, window: int, samples: int) -> torch.Tensor:
    shape = torch.hann_window(window)
    flat = torch.istft(spectra.flatten(0, 1), window, window // 4, window=shape, length=samples)
    return flat.unflatten(0, spectra.shape[:2])
