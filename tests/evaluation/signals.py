"""Synthetic songs, quantised to 16 bit as the data sets' files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.training.conftest import RATE, accompaniment, voice

__all__ = ["RATE", "song", "write"]


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


def write(path: Path, signal: np.ndarray, rate: int = RATE) -> Path:
    """Write a WAV file of floats, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # soundfile takes no names that are no text
        soundfile.write(file, signal, rate, "FLOAT", format="WAV")
    return path
