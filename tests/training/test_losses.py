from __future__ import annotations

import pytest
import torch

from htmdsep.model import HTMDNet, HTMDNetConfig, NetworkOutput
from htmdsep.training.losses import VARIANTS, LossSettings, spectral_distance, supervise
from htmdsep.training.presets import OURS

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
    assert float(losses.total) == pytest.approx(total)
    assert losses.total.requires_grad is False
    assert float(losses.final) == pytest.approx(0.25 if name.endswith("mse") else 0.5)


def test_baselines_without_a_masked_estimate_have_the_final_loss_alone() -> None:
    losses = supervise(NetworkOutput(TARGET + 0.5, None), TARGET, TARGET, VARIANTS["mse-mae"])
    assert float(losses.total) == pytest.approx(0.05)
    assert float(losses.masked) == 0


def test_balanced_losses_do_not_depend_on_level() -> None:
    mixture, vocals = torch.randn(2, 2, 1, 4096)
    settings = LossSettings("mae", 0.5, "mae", 1.0, balanced=1.0)
    totals = [
        float(
            supervise(
                NetworkOutput(gain * mixture / 2, gain * mixture),
                gain * mixture,
                gain * vocals,
                settings,
            ).total
        )
        for gain in (1.0, 0.1)
    ]
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)


def test_the_spectral_distance_sees_magnitudes_and_no_phase() -> None:
    sound = torch.randn(2, 1, 8192, generator=torch.Generator().manual_seed(0))
    assert (spectral_distance(-sound, sound) < 1e-6).all()
    damped, silent = spectral_distance(sound / 4, sound), spectral_distance(0 * sound, sound)
    torch.testing.assert_close(damped / silent, torch.full((2,), 0.5), atol=0.01, rtol=0)


@pytest.mark.parametrize("settings", [*VARIANTS.values(), OURS.trainer.loss])
def test_gradients_are_finite_also_at_silence(settings: LossSettings) -> None:
    estimate = torch.zeros(2, 1, 4096, requires_grad=True)
    masked = torch.zeros(2, 1, 4096, requires_grad=True)
    supervise(NetworkOutput(estimate, masked), TARGET, TARGET, settings).total.backward()  # type: ignore[no-untyped-call]
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


def test_our_loss_reaches_every_weight(tiny_config: HTMDNetConfig) -> None:
    network = HTMDNet(tiny_config)
    mixture, vocals = torch.randn(2, 3, 1, 4096) / 10
    supervise(network(mixture), mixture, vocals, OURS.trainer.loss).total.backward()  # type: ignore[no-untyped-call]
    for name, value in network.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name
