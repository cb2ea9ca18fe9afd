from __future__ import annotations

import math

import pytest
import torch

from htmdsep.networks.htmdnet import HTMDNet, NetworkOutput
from htmdsep.training.losses import RATIO, RATIO_FLOOR, VARIANTS, LossSettings, supervise
from htmdsep.training.recipe import OURS
from tests.training.conftest import TINY

TARGET = torch.zeros(2, 1, 4096)
OUTPUT = NetworkOutput(TARGET + 0.5, TARGET + 0.2)  # MSE 0.25 and 0.04, MAE 0.5 and 0.2


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("mse-mse", 0.5 * 0.04 + 0.25),
        ("mae-mae", 0.5 * 0.2 + 0.5),
        ("mae-mse", 0.05 * 0.2 + 0.25),
        ("mse-mae", 0.04 + 0.1 * 0.5),
        ("mse", 0.25),
        ("mae", 0.5),
    ],
)
def test_the_slides_six_variants(name: str, total: float) -> None:
    losses = supervise(OUTPUT, TARGET, TARGET, VARIANTS[name])
    assert float(losses.loss) == pytest.approx(total)
    assert losses.loss.requires_grad is False
    assert float(losses.final_loss) == pytest.approx(0.25 if name.endswith("mse") else 0.5)


def test_baselines_without_a_masked_estimate_have_the_final_loss_alone() -> None:
    losses = supervise(NetworkOutput(TARGET + 0.5, None), TARGET, TARGET, VARIANTS["mse-mae"])
    assert float(losses.loss) == pytest.approx(0.05)
    assert float(losses.masked_loss) == 0


def test_the_ratio_is_the_error_against_the_mixture_at_any_level() -> None:
    mixture, vocals = torch.randn(2, 3, 1, 4096, generator=torch.Generator().manual_seed(0))
    for gain in (1.0, 0.01):
        output = NetworkOutput(gain * (vocals + mixture / 10), None)
        losses = supervise(output, gain * mixture, gain * vocals, RATIO)
        assert float(losses.loss) == pytest.approx(math.log10(0.01 + RATIO_FLOOR), abs=1e-3)


def test_the_ratio_falls_no_further_than_its_floor() -> None:
    mixture = torch.randn(2, 1, 4096)
    for vocals in (mixture, torch.zeros_like(mixture)):
        losses = supervise(NetworkOutput(vocals, None), mixture, vocals, RATIO)
        assert float(losses.loss) == pytest.approx(math.log10(RATIO_FLOOR))


@pytest.mark.parametrize("settings", [*VARIANTS.values(), OURS.loss])
def test_gradients_are_finite_also_at_silence(settings: LossSettings) -> None:
    estimate = torch.zeros(2, 1, 4096, requires_grad=True)
    masked = torch.zeros(2, 1, 4096, requires_grad=True)
    supervise(NetworkOutput(estimate, masked), TARGET, TARGET, settings).loss.backward()  # type: ignore[no-untyped-call]
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


def test_our_loss_reaches_every_weight() -> None:
    network = HTMDNet(TINY)
    mixture, vocals = torch.randn(2, 3, 1, 4096) / 10
    supervise(network(mixture), mixture, vocals, OURS.loss).loss.backward()  # type: ignore[no-untyped-call]
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name
