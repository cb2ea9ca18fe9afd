"""Spreading a mono estimate over the channels: exact where it can be, and in flat memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.stereo import SpreadOptions, filter_spectra, spread_estimate

RATE = 44_100
SHORT = SpreadOptions(group_frames=4)


def spread(
    mixture: np.ndarray,
    estimate: np.ndarray,
    sample_rate: int = RATE,
    block_length: int = 50_000,
    estimate_rate: int = 22_050,
) -> np.ndarray:
    pairs = (
        (mixture[start : start + block_length], estimate[start : start + block_length])
        for start in range(0, len(mixture), block_length)
    )
    blocks = spread_estimate(pairs, sample_rate, estimate_rate=estimate_rate)
    return np.concatenate([mixture[:0], *blocks])


def mean(signal: np.ndarray) -> np.ndarray:
    result: np.ndarray = signal.mean(axis=1, keepdims=True)
    return result


def noise(rng: np.random.Generator, frames: int, channels: int = 1) -> np.ndarray:
    return (0.1 * rng.standard_normal((frames, channels))).astype(np.float32)


def voice(frames: int) -> np.ndarray:
    """A harmonic tone that comes and goes, (frames, 1)."""
    time = np.arange(frames) / RATE
    wave = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 40))
    return (0.1 * wave * (np.sin(2 * np.pi * 0.7 * time) > -0.3)).astype(np.float32)[:, None]


def sdr(target: np.ndarray, estimate: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(target**2.0) / np.sum((target - estimate) ** 2.0)))


@settings(deadline=None, max_examples=60)
@given(
    frames=st.one_of(st.integers(0, 9_000), st.sampled_from([255, 256, 257, 1_023, 1_024, 1_025])),
    channels=st.integers(1, 8),
    block_length=st.integers(1, 3_000),
    window_length=st.sampled_from([16, 256, 1_024]),
)
def test_spectra_left_alone_give_the_input_back(
    frames: int, channels: int, block_length: int, window_length: int
) -> None:
    signal = noise(np.random.default_rng(frames), frames, channels)
    blocks = (signal[start : start + block_length] for start in range(0, frames, block_length))
    found = np.concatenate(
        [signal[:0], *filter_spectra(blocks, lambda spectra: spectra, window_length, SHORT)]
    )
    assert found.shape == signal.shape
    np.testing.assert_allclose(found, signal, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    frames=st.one_of(st.integers(0, 6_000), st.sampled_from([3_071, 3_072, 3_073, 17_000])),
    channels=st.integers(1, 8),
    sample_rate=st.sampled_from([10, 8_000, 22_050, 24_000, 44_100, 48_000, 192_000]),
)
def test_as_many_frames_come_out_as_go_in_and_are_finite(
    frames: int, channels: int, sample_rate: int
) -> None:
    mixture = noise(np.random.default_rng(frames), frames, channels)
    vocals = spread(mixture, 0.5 * mean(mixture), sample_rate)
    assert vocals.shape == mixture.shape
    assert vocals.dtype == np.float32
    assert np.isfinite(vocals).all()


@pytest.mark.parametrize("block_length", [1_009, 16_384, 65_536, 1_000_000])
def test_bytes_do_not_depend_on_the_blocks(rng: np.random.Generator, block_length: int) -> None:
    mixture, estimate = noise(rng, 150_001, 2), noise(rng, 150_001)
    expected = spread(mixture, estimate)
    assert np.array_equal(spread(mixture, estimate, block_length=block_length), expected)


def test_an_empty_stream_has_no_vocals() -> None:
    assert list(spread_estimate(iter([]), RATE)) == []


@pytest.mark.parametrize("channels", [2, 6])
def test_no_estimate_no_vocals(rng: np.random.Generator, channels: int) -> None:
    mixture = noise(rng, 60_000, channels)
    assert not spread(mixture, np.zeros((60_000, 1), np.float32)).any()


def test_silence_has_no_vocals() -> None:
    silence = np.zeros((60_000, 2), np.float32)
    assert not spread(silence, silence[:, :1]).any()


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("gains", [(1, 1), (1, 0.2), (0.5, 1, 0.7, 0.1, 1, 0)])
def test_all_of_the_mean_is_all_of_the_mixture(
    rng: np.random.Generator, sample_rate: int, gains: tuple[float, ...]
) -> None:
    mixture = noise(rng, 60_000) * np.asarray(gains, np.float32)
    np.testing.assert_allclose(spread(mixture, mean(mixture), sample_rate), mixture, atol=1e-6)


@pytest.mark.parametrize("gains", [(1, 0), (0, 1), (0.3, 1), (0, 0, 1, 0, 0, 0)])
def test_vocals_land_where_they_are_panned(
    rng: np.random.Generator, gains: tuple[float, ...]
) -> None:
    frames = 4 * RATE
    vocals = voice(frames) * np.asarray(gains, np.float32)
    mixture = vocals + noise(rng, frames, len(gains))
    found = spread(mixture, mean(vocals))
    heard = slice(RATE, None)  # the fit has settled
    assert sdr(vocals[heard], found[heard]) > 10
    silent = np.asarray(gains) == 0
    there = np.sum(mixture[heard][:, silent] ** 2.0)  # accompaniment only
    assert np.sum(found[heard][:, silent] ** 2.0) <= 0.05 * there


def test_wide_accompaniment_stays_out_of_central_vocals(rng: np.random.Generator) -> None:
    """Powers alone cannot do this: the same gain on every channel lets the sides through."""
    frames = 4 * RATE
    vocals = np.repeat(voice(frames), 2, axis=1)
    wide = noise(rng, frames)
    mixture = vocals + np.concatenate([wide, -wide], axis=1) + noise(rng, frames, 2) / 10
    found = spread(mixture, mean(vocals))
    side = found[:, 0] - found[:, 1]
    assert np.sum(side[RATE:] ** 2.0) < 0.02 * np.sum((2 * wide[RATE:]) ** 2.0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_above_the_estimate_the_filter_is_that_of_the_band_below(
    rng: np.random.Generator, share: float
) -> None:
    mixture = np.repeat(noise(rng, 2 * RATE), 2, axis=1)
    spectrum = np.fft.rfft(share * mean(mixture), axis=0)
    frequencies = np.fft.rfftfreq(len(mixture), 1 / RATE)
    spectrum[frequencies > 10_500] = 0
    estimate = np.fft.irfft(spectrum, len(mixture), axis=0).astype(np.float32)
    found = np.fft.rfft(spread(mixture, estimate), axis=0)
    above = frequencies > 11_025
    kept = np.sum(np.abs(found[above]) ** 2)
    assert kept == pytest.approx(
        share * np.sum(np.abs(np.fft.rfft(mixture, axis=0)[above]) ** 2), rel=1e-2
    )


def test_memory_does_not_grow_with_length() -> None:
    def stream(seconds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(seconds):
            yield np.full((8_000, 2), 0.1, np.float32), np.full((8_000, 1), 0.05, np.float32)

    def peak(seconds: int) -> int:
        tracemalloc.start()
        frames = sum(len(block) for block in spread_estimate(stream(seconds), 8_000))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert frames == seconds * 8_000
        return most

    peak(5)
    assert peak(90) < 1.05 * peak(30)
