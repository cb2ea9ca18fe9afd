"""What a network's scores stand between: the mixture itself, and a mask that knows the vocals."""

from __future__ import annotations

import torch
from torch import Tensor

from htmdsep.metrics.oracles import ideal_ratio_mask
from htmdsep.model import NetworkOutput
from htmdsep.training.validation import Estimator


def mixture_itself(mixtures: Tensor, _vocals: Tensor) -> NetworkOutput:
    """Return the mixtures, the lower bound."""
    return NetworkOutput(mixtures, None)


def oracle(mixtures: Tensor, vocals: Tensor) -> NetworkOutput:
    """Return what the ideal ratio mask lets through of (windows, time), an upper bound."""
    music = mixtures - vocals
    estimate = ideal_ratio_mask(vocals.T.numpy(), music.T.numpy())
    return NetworkOutput(torch.from_numpy(estimate.T.copy()), None)


REFERENCES: dict[str, Estimator] = {"mixture": mixture_itself, "oracle": oracle}
