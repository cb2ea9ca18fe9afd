"""HTMD-Net's first stage of training: the masking network alone."""

from __future__ import annotations

from torch import Tensor, nn

from htmdsep.model import HTMDNet, Network, NetworkOutput
from htmdsep.model.masking import MaskingNetwork


class MaskingStage(nn.Module):
    """A masking network whose masked estimate, (batch, 1, time), is the estimate as well."""

    def __init__(self, masking: MaskingNetwork) -> None:
        super().__init__()
        self.masking = masking

    def forward(self, mixture: Tensor) -> NetworkOutput:
        masked_estimate = self.masking(mixture)
        return NetworkOutput(masked_estimate, masked_estimate)


def masking_stage(network: Network) -> MaskingStage | None:
    """Return what learns first: of HTMD-Net its masking network, of the baselines nothing."""
    if not isinstance(network, HTMDNet) or not isinstance(network.masking, MaskingNetwork):
        return None
    return MaskingStage(network.masking)
