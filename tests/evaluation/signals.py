"""Synthetic songs, quantised to 16 bit as the data sets' files are."""

from __future__ import annotations

import numpy as np

from tests.training.conftest import RATE, accompaniment, voice

__all__ = ["RATE", "song"]


def song(
    rng: np.random.Generator, seconds: float, channels: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return vocals and accompaniment, (frames, channels) float32.

    They are spread over the channels, with noise of -60 dBFS in each as a microphone has.
    """

    def spread(mono: np.ndarray) -> np.ndarray:
        signal = mono[:, None] * rng.uniform(0.3, 1.0, channels)
        signal = signal + 1e-3 * rng.standard_normal(signal.shape)
        return (np.round(signal * 32_767) / 32_768).astype(np.float32)

    return spread(voice(rng, seconds)), spread(accompaniment(rng, seconds))
