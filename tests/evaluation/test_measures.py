"""Silence, voice activity, oracles and statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.evaluation.activity import voice_activity
from htmdsep.evaluation.oracles import ideal_ratio_mask, multichannel_wiener
from htmdsep.evaluation.scale_invariant import si_sdr
from htmdsep.evaluation.silence import level_at_inactivity
from htmdsep.evaluation.statistics import bootstrap_median, summarise, wilcoxon
from tests.evaluation.signals import RATE, song


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_si_sdr_ignores_scale(factor: float, seed: int) -> None:
    target, other = np.random.default_rng(seed).standard_normal((2, 500))
    estimate = target + other
    assert si_sdr(target, factor * estimate) == pytest.approx(float(si_sdr(target, estimate)))


def test_the_authors_level_at_inactivity() -> None:
    estimate = np.stack([np.full(100, 0.1), np.zeros(100), np.full(100, 0.1)])
    levels = level_at_inactivity(np.array([0.5, 0.0, 0.51]), estimate)
    np.testing.assert_allclose(levels, [-20, -2000, np.nan])


def vowel(seconds: float) -> np.ndarray:
    """Return harmonics of 150 Hz under three formants, that come and go as syllables do."""
    time = np.arange(int(seconds * RATE)) / RATE
    partials = 150 * np.arange(1, 25)
    formants = np.array([[700], [1200], [2500]])
    strengths = np.exp(-(((partials - formants) / 120) ** 2)).sum(axis=0)
    phases = 2 * np.pi * partials[:, None] * time
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    return np.asarray(0.2 * swell * (strengths[:, None] * np.sin(phases)).sum(axis=0))


def test_the_detector_hears_a_voice_and_no_silence() -> None:
    segments = np.stack([vowel(1), np.zeros(RATE)])
    active = voice_activity(segments, RATE)
    assert active.shape == (2, 50)
    assert active[0].mean() > 0.5
    assert not active[1].any()


def test_the_detector_judges_each_segment_by_itself() -> None:
    segments = np.stack([vowel(1), vowel(2)[RATE:]])
    np.testing.assert_array_equal(
        voice_activity(segments, RATE)[1], voice_activity(segments[1:], RATE)[0]
    )


def test_the_detector_takes_signals_beyond_full_scale() -> None:
    np.testing.assert_array_equal(
        voice_activity(20 * vowel(1)[None], RATE),
        voice_activity(0.99 / np.abs(vowel(1)).max() * vowel(1)[None], RATE),
    )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [500, RATE])
def test_oracles_keep_length_and_come_close(
    rng: np.random.Generator, channels: int, frames: int
) -> None:
    vocals, music = (signal[:frames] for signal in song(rng, 1.0, channels))
    mixture_error = np.sum(music**2)
    for oracle in (ideal_ratio_mask, multichannel_wiener):
        estimate = oracle(vocals, music)
        assert estimate.shape == vocals.shape and estimate.dtype == np.float32
        if frames == RATE:
            assert np.sum((estimate - vocals) ** 2) < 0.25 * mixture_error


def test_oracles_of_a_voice_alone_return_it(rng: np.random.Generator) -> None:
    vocals, _ = song(rng, 1.0, 2)
    for oracle in (ideal_ratio_mask, multichannel_wiener):
        np.testing.assert_allclose(oracle(vocals, np.zeros_like(vocals)), vocals, atol=1e-5)


def test_the_wiener_filter_tells_places_apart(rng: np.random.Generator) -> None:
    """Two noises of one spectrum, left and right: no mask can, but the filter separates them."""
    left, right = (0.1 * rng.standard_normal((2, 4 * RATE))).astype(np.float32)
    vocals = np.stack([left, 0.1 * left], axis=1)
    music = np.stack([0.1 * right, right], axis=1)

    def error(estimate: np.ndarray) -> float:
        return float(np.sum((estimate - vocals) ** 2) / np.sum(vocals**2))

    assert error(multichannel_wiener(vocals, music)) < 1e-3
    assert error(ideal_ratio_mask(vocals, music)) > 1e-3


def test_a_summary_leaves_out_what_is_not_finite_and_counts_it() -> None:
    songs = [np.array([1.0, np.nan, 3.0]), np.array([5.0, np.inf]), np.array([np.nan])]
    summary = summarise(songs)
    assert (summary.song_median, summary.pooled_median, summary.pooled_mean) == (3.5, 3.0, 3.0)
    assert (summary.frames, summary.left_out, summary.songs) == (3, 3, 2)
    assert summary.song_interval == (2.0, 5.0)


def test_a_summary_of_nothing_is_nan() -> None:
    for songs in ([], [np.array([np.nan])]):
        summary = summarise(songs)
        assert np.isnan([summary.song_median, summary.pooled_mean, *summary.song_interval]).all()
        assert summary.songs == 0


def test_the_interval_of_a_median_covers_it(rng: np.random.Generator) -> None:
    """Of 20 sets of 20 songs around 3 dB, the 95 % interval misses 3 dB in few."""
    missed = 0
    for _ in range(20):
        lower, upper = bootstrap_median(list(rng.normal(3, 2, (20, 1))))
        missed += not lower <= 3 <= upper
    assert missed <= 4


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_pooled_interval_lies_within_the_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    songs = [rng.normal(0, 1, rng.integers(1, 9)) for _ in range(rng.integers(2, 6))]
    lower, upper = bootstrap_median(songs)
    assert min(map(np.median, songs)) <= lower <= upper <= max(map(np.median, songs))


def test_wilcoxon_on_paired_frames(rng: np.random.Generator) -> None:
    first = rng.normal(0, 1, 60)
    p, pairs = wilcoxon(first, first + 0.5 + 0.1 * rng.normal(0, 1, 60))
    assert p < 1e-6 and pairs == 60
    assert wilcoxon(first, first + rng.normal(0, 1, 60))[0] > 1e-3
    first[:3] = np.nan
    p, pairs = wilcoxon(first, first)
    assert np.isnan(p) and pairs == 57


def test_wilcoxon_by_hand() -> None:
    """Five pairs, all in one direction: p = 2 / 2^5 exactly."""
    p, _ = wilcoxon(np.arange(5.0), np.arange(5.0) - np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert p == pytest.approx(2 / 32)
