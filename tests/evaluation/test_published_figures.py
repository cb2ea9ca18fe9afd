"""Figures that other projects publish for signals that can be made anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from htmdsep.evaluation.bss_eval import bss_eval
from htmdsep.evaluation.scale_invariant import si_sdr
from htmdsep.evaluation.silence import energy_at_silence


def sources_sdr(target: np.ndarray, estimate: np.ndarray) -> float:
    """Return BSS Eval's older SDR, which forgives filtering: the SAR of a single source."""
    whole = bss_eval(target[None], estimate[None], window_length=len(target))
    return float(whole.sar[0, 0])


def test_torchmetrics_signal_distortion_ratio() -> None:
    """The documented example of torchmetrics' signal_distortion_ratio, a BSS Eval SDR."""
    torch.manual_seed(1)
    estimate, target = torch.randn(8000).numpy(), torch.randn(8000).numpy()
    assert sources_sdr(target, estimate) == pytest.approx(-12.0589, abs=6e-5)
    estimates, targets = torch.randn(4, 2, 8000).numpy(), torch.randn(4, 2, 8000).numpy()
    orders = [(1, 0), (0, 1), (1, 0), (0, 1)]  # the best permutations, as documented
    means = [
        np.mean(
            [sources_sdr(targets[row, place], estimates[row, order[place]]) for place in (0, 1)]
        )
        for row, order in enumerate(orders)
    ]
    np.testing.assert_allclose(means, [-11.6375, -11.4358, -11.7148, -11.6325], atol=6e-5)


def test_torchmetrics_scale_invariant_ratio() -> None:
    target, estimate = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
    assert si_sdr(target, estimate) == pytest.approx(18.4030, abs=6e-5)


def test_pb_bss_scale_invariant_ratio() -> None:
    """The doctests of fgnt/pb_bss, which are in many projects."""
    reference = np.random.RandomState(0).randn(100)
    flipped = np.flip(reference)
    assert si_sdr(reference, flipped) == pytest.approx(-25.127672346460717, abs=1e-9)
    assert si_sdr(reference, reference + flipped) == pytest.approx(0.481070445785553, abs=1e-9)
    assert si_sdr(reference, reference + 0.5) == pytest.approx(6.3704606032577304, abs=1e-9)
    assert si_sdr(reference, 2 * reference + 1) == pytest.approx(6.3704606032577304, abs=1e-9)
    assert si_sdr(reference, 2 * reference) == np.inf
    assert np.isnan(si_sdr(np.array([1.0, 0.0]), np.array([0.0, 0.0])))


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
