"""Synthetic songs, quantised to 16 bit as the data sets' files are."""

from __future__ import annotations

import numpy as np

from tests.training.conftest import RATE, accompaniment, voice

__all__ = ["RATE", "song"]


def song(rng: np.random.Generator, seconds: float, channels: int = 1) -> tuple[np.ndarray, ...]:
    """Return vocals and accompaniment, (frames, channels) float32.

    They are spread over the channels, with noise of -60 dBFS in each as a microphone has.
    """
    signals = []
    for make in (voice, accompaniment):
        gains = rng.uniform(0.3, 1.0, channels)
        spread = make(rng, seconds)[:, None] * gains
        spread = spread + 1e-3 * rng.standard_normal(spread.shape)
        signals.append((np.round(spread * 32_767) / 32_768).astype(np.float32))
    return tuple(signals)
