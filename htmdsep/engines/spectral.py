"""The transforms around a graph that maps magnitudes to masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from htmdsep.dsp.spectra import istft, stft
from htmdsep.networks.config import HIGH_BAND_HERTZ, SpectralConfig

Graph = Callable[[np.ndarray], np.ndarray]  # a batch to one of the same shape
# Mixtures (inputs, network_channels, time) to (fields of Estimate, inputs, network_channels, time)
Run = Callable[[np.ndarray], np.ndarray]


def spectral_run(graph: Graph, config: SpectralConfig) -> Run:
    """Return what puts the transforms around a graph that maps magnitudes to masks."""
    transform = (config.window_length, config.hop_length)
    first, last = config.bins_of(HIGH_BAND_HERTZ)

    def run(mixture: np.ndarray) -> np.ndarray:
        # Channel by channel, which takes half the memory
        spectra = [stft(channel, *transform) for channel in mixture[0]]  # (frames + 1, all bins)
        magnitudes = np.stack([np.abs(one[:-1, : config.bins]) for one in spectra])[None]
        magnitudes *= np.float32(config.magnitude_scale)
        masks = graph(magnitudes)[0]  # (channels, frames, bins)
        outputs = np.empty((2, *mixture.shape), np.float32)
        for vocals, one, mask in zip(outputs[0, 0], spectra, masks, strict=True):
            vocals[:] = istft(_masked(one, mask), *transform)
        gains = masks[..., first:last].mean(axis=-1)  # (channels, frames)
        outputs[1, 0] = _between_frames(gains, config.hop_length)
        return outputs

    return run


def _masked(spectra: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Multiply spectra (frames + 1, all bins) in place by masks (frames, bins).

    The last frame gets the mask before it, and bins above the last one that bin's.
    """
    bins = masks.shape[1]
    spectra[:-1, :bins] *= masks
    spectra[-1, :bins] *= masks[-1]
    spectra[:-1, bins:] *= masks[:, -1:]
    spectra[-1, bins:] *= masks[-1, -1]
    return spectra


def _between_frames(gains: np.ndarray, hop_length: int) -> np.ndarray:
    """Return (..., frames) as (..., frames * hop_length), interpolated linearly."""
    following = np.concatenate([gains[..., 1:], gains[..., -1:]], axis=-1)
    share = np.arange(hop_length, dtype=np.float32) / hop_length
    fine: np.ndarray = gains[..., None] + (following - gains)[..., None] * share
    return fine.reshape(*gains.shape[:-1], -1)
