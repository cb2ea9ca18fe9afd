from __future__ import annotations

import torch

from htmdsep.training.scores import levels_at_silence, sdr, si_sdr


def test_sdr_is_the_ratio_of_target_to_error() -> None:
    target = torch.randn(3, 4000)
    error = torch.randn(3, 4000)
    found = sdr(target, target + error / 10)
    wanted = 10 * torch.log10(target.square().sum(1) / (error / 10).square().sum(1))
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    torch.testing.assert_close(sdr(target, torch.zeros_like(target)), torch.zeros(3))


def test_si_sdr_ignores_the_scale_and_sdr_does_not() -> None:
    target, error = torch.randn(2, 4000), torch.randn(2, 4000) / 10
    whole, damped = target + error, (target + error) / 5
    torch.testing.assert_close(si_sdr(target, damped), si_sdr(target, whole), atol=1e-3, rtol=0)
    assert (sdr(target, damped) < sdr(target, whole) - 10).all()
    assert (si_sdr(target, torch.zeros_like(target)) <= 0).all()


def test_energy_is_predicted_at_silence_only() -> None:
    target = torch.cat([torch.zeros(1, 200), torch.ones(1, 100)], dim=1)
    signals = torch.stack([torch.full((1, 300), 0.1), torch.full((1, 300), 0.01)])
    levels = levels_at_silence(target, signals, 100)
    torch.testing.assert_close(levels, torch.tensor([[-20.0, -20.0], [-40.0, -40.0]]))
    assert levels_at_silence(torch.ones(1, 300), signals, 100).shape == (2, 0)
    assert levels_at_silence(target, torch.zeros(1, 1, 300), 100).isfinite().all()
