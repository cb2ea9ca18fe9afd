from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.metrics.oracles import Oracle, ideal_ratio_mask, multichannel_wiener
from tests.evaluation.signals import RATE, song

BOTH = pytest.mark.parametrize("oracle", [ideal_ratio_mask, multichannel_wiener])


@BOTH
@given(frames=st.integers(1, 6000), channels=st.integers(1, 2), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_voice_alone_comes_back_at_any_length(
    oracle: Oracle, frames: int, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vocals = 0.1 * rng.standard_normal((frames, channels)).astype(np.float32)
    estimate = oracle(vocals, np.zeros_like(vocals))
    assert estimate.shape == vocals.shape and estimate.dtype == np.float32
    np.testing.assert_allclose(estimate, vocals, atol=1e-5)


@BOTH
@pytest.mark.parametrize("channels", [1, 2])
def test_oracles_come_close(rng: np.random.Generator, oracle: Oracle, channels: int) -> None:
    vocals, music = song(rng, 1.0, channels)
    assert np.sum((oracle(vocals, music) - vocals) ** 2) < 0.25 * np.sum(music**2)


@pytest.mark.parametrize("frames", [500, 1024, 5000])
def test_the_mask_is_that_of_scipys_transforms(rng: np.random.Generator, frames: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    vocals, music = 0.1 * rng.standard_normal((2, frames, 2)).astype(np.float32)
    padded = np.zeros((2, 2, max(frames, 2048)), np.float32)
    padded[..., :frames] = vocals.T, music.T
    voice, other = signal.stft(padded, nperseg=2048)[2]
    mask = np.abs(voice) / (np.abs(voice) + np.abs(other) + 1e-20)
    expected = signal.istft((voice + other) * mask, nperseg=2048)[1][:, :frames].T
    np.testing.assert_allclose(ideal_ratio_mask(vocals, music), expected, atol=1e-6)


def test_the_wiener_filter_tells_places_apart(rng: np.random.Generator) -> None:
    """Two noises of one spectrum, left and right: no mask can, but the filter separates them."""
    left, right = (0.1 * rng.standard_normal((2, 4 * RATE))).astype(np.float32)
    vocals = np.stack([left, 0.1 * left], axis=1)
    music = np.stack([0.1 * right, right], axis=1)

    def error(estimate: np.ndarray) -> float:
        return float(np.sum((estimate - vocals) ** 2) / np.sum(vocals**2))

    assert error(multichannel_wiener(vocals, music)) < 1e-3
    assert error(ideal_ratio_mask(vocals, music)) > 1e-3
