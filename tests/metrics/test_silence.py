"""Levels and energies at silence, and voice activity."""

from __future__ import annotations

import numpy as np

from htmdsep.metrics.silence import (
    energy_at_silence,
    level_at_inactivity,
    levels_at_silence,
    voice_activity,
)
from tests.evaluation.signals import RATE


def test_levels_are_those_of_silent_frames_only() -> None:
    target = np.concatenate([np.zeros((1, 200)), np.ones((1, 150))], axis=1)
    signals = np.stack([np.full((1, 350), 0.1), np.full((1, 350), 0.01)])
    levels = levels_at_silence(target, signals, 100)
    np.testing.assert_allclose(levels, [[-20, -20], [-40, -40]], atol=1e-4)
    assert levels_at_silence(np.ones((1, 300)), signals[..., :300], 100).shape == (2, 0)
    np.testing.assert_allclose(levels_at_silence(target, 0 * signals, 100), -100)


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


def frames_of(signal: np.ndarray) -> np.ndarray:
    """Return the frames of Schulze-Forster et al.'s tests: ten samples every five."""
    return np.lib.stride_tricks.sliding_window_view(signal, 10)[::5]


def test_schulze_forster_energy_at_silence() -> None:
    """The unit tests of schufo/wiass, without their partial last frame."""
    truth, estimate = np.full(103, 2.0), np.full(103, -2.0)
    truth[10:20] = truth[45:55] = 0
    estimate[50:60] = estimate[70:80] = 0
    true_frames, frames = frames_of(truth), frames_of(estimate)
    pes, eps = energy_at_silence(true_frames, frames), energy_at_silence(frames, true_frames)
    assert np.flatnonzero(np.isfinite(pes)).tolist() == [2, 9]
    assert np.flatnonzero(np.isfinite(eps)).tolist() == [10, 14]
    expected = [10 * np.log10(40 + 1e-12), 10 * np.log10(20 + 1e-12)]
    np.testing.assert_array_equal(pes[[2, 9]], expected)
    np.testing.assert_array_equal(eps[[14, 10]], expected)


def test_schulze_forster_energy_where_both_are_silent() -> None:
    silent = np.full(100, 2.0)
    silent[50:60] = 0
    eps = energy_at_silence(frames_of(silent), frames_of(silent))
    assert eps[np.isfinite(eps)].tolist() == [-120]
