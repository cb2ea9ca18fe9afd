"""SDR and SI-SDR: what they ignore, and figures that other projects publish."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.metrics.ratios import FLOOR, sdr, si_sdr


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_si_sdr_ignores_scale_and_sdr_does_not(factor: float, seed: int) -> None:
    target, error = np.random.default_rng(seed).standard_normal((2, 3, 500))
    whole = target + error / 10
    for floor in (0.0, FLOOR):
        found = si_sdr(target, factor * whole, floor)
        np.testing.assert_allclose(found, si_sdr(target, whole, floor), atol=1e-4)
    plain, scaled = (sdr(torch.tensor(target), torch.tensor(f * whole)) for f in (1.0, 10 * factor))
    assert abs(10 * factor - 1) < 0.2 or bool((scaled < plain).all())


def test_sdr_is_the_ratio_of_target_to_error() -> None:
    target, error = torch.randn(2, 3, 4000)
    found = sdr(target, target + error / 10)
    wanted = 20 + 10 * torch.log10(target.square().sum(1) / error.square().sum(1))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    torch.testing.assert_close(sdr(target, torch.zeros_like(target)), torch.zeros(3))


def test_a_floor_keeps_ratios_of_silence_finite() -> None:
    noise, silence = np.random.default_rng(0).standard_normal((1, 100)), np.zeros((1, 100))
    assert np.isnan(si_sdr(silence, noise)) and np.isnan(si_sdr(noise, silence))
    for target, estimate in ((silence, noise), (noise, silence), (noise, noise)):
        assert np.isfinite(si_sdr(target, estimate, FLOOR))
        assert sdr(torch.tensor(target), torch.tensor(estimate)).isfinite()
    assert si_sdr(noise, silence, FLOOR) <= 0


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
