"""HTMD-Net's two stages of training: the masking network, then the denoising network on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from htmdsep.model import HTMDNet, Network, NetworkOutput
from htmdsep.model.masking import MaskingNetwork
from htmdsep.training.settings import TrainerSettings

StageName = Literal["whole", "masking", "denoising"]


class MaskingStage(nn.Module):
    """A masking network whose masked estimate, (batch, 1, time), is the estimate as well."""

    def __init__(self, masking: MaskingNetwork) -> None:
        super().__init__()
        self.masking = masking

    def forward(self, mixture: Tensor) -> NetworkOutput:
        masked_estimate = self.masking(mixture)
        return NetworkOutput(masked_estimate, masked_estimate)


class DenoisingStage(nn.Module):
    """A denoising network after a masking network that learns no more."""

    def __init__(self, network: HTMDNet) -> None:
        super().__init__()
        self.denoising = network.denoising
        self._learnt = (network.masking,)  # in a tuple it is no part of what learns here

    def forward(self, mixture: Tensor) -> NetworkOutput:
        with torch.no_grad():
            masked_estimate = self._learnt[0](mixture)
        return NetworkOutput(self.denoising(masked_estimate), masked_estimate)


@dataclass(frozen=True)
class Stage:
    """What learns at a point of a run, and how far its stage has come, 0 to 1."""

    name: StageName
    learner: nn.Module
    progress: float


@dataclass(frozen=True)
class Learners:
    """What may learn: the whole network, and of HTMD-Net its halves. Perhaps made parallel."""

    whole: nn.Module
    masking: nn.Module | None = None
    denoising: nn.Module | None = None

    def at(self, settings: TrainerSettings, progress: float) -> Stage:
        """Return the stage at a progress of 0 to 1 through the run.

        The masking network has `masking_share` of a run whose end is known, the denoising network
        the rest; otherwise both learn together.
        """
        share = settings.masking_share if settings.has_end else 0.0
        if self.masking is None or self.denoising is None or share == 0:
            return Stage("whole", self.whole, progress)
        if progress < share:
            return Stage("masking", self.masking, progress / share)
        # With a share of 1 there is only the moment at which the run is over.
        rest = (progress - share) / (1 - share) if share < 1 else 1.0
        return Stage("denoising", self.denoising, rest)


def learners(network: Network, prepare: Callable[[nn.Module], nn.Module]) -> Learners:
    """Return a network's learners, each made ready by `prepare`."""
    if not isinstance(network, HTMDNet):
        return Learners(prepare(network))
    return Learners(
        prepare(network),
        prepare(MaskingStage(network.masking)),
        prepare(DenoisingStage(network)),
    )


def enter_denoising(network: Network, average: Network) -> None:
    """Leave the masking network as its moving average, on which the denoising network builds."""
    assert isinstance(network, HTMDNet)
    assert isinstance(average, HTMDNet)
    network.masking.load_state_dict(average.masking.state_dict())


def set_mode(network: Network, stage: StageName, *, frozen: bool) -> None:
    """Train; what learns no more, and all where `frozen`, with batch norm as in evaluation."""
    network.train()
    if stage == "denoising":
        assert isinstance(network, HTMDNet)
        network.masking.eval()
    if frozen:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
