"""What a network's scores stand between: the mixture itself, and a mask that knows the vocals."""

from __future__ import annotations

import torch
from torch import Tensor

from htmdsep.metrics.oracles import ideal_ratio_mask
from htmdsep.networks.htmdnet import NetworkOutput
from htmdsep.training.validation import WindowEstimator


def mixture_itself(mixtures: Tensor, _vocals: Tensor) -> NetworkOutput:
    """Return the mixtures, the lower bound."""
    return NetworkOutput(mixtures, None)


def oracle(mixtures: Tensor, vocals: Tensor) -> NetworkOutput:
    """Return what the ideal ratio mask lets through: an upper bound, (windows, channels, time)."""
    columns = (signal.flatten(0, 1).T.numpy() for signal in (vocals, mixtures - vocals))
    estimate = torch.from_numpy(ideal_ratio_mask(*columns).T.copy())
    return NetworkOutput(estimate.reshape(mixtures.shape), None)


REFERENCES: dict[str, WindowEstimator] = {"mixture": mixture_itself, "oracle": oracle}
