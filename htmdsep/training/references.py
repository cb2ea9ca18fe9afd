"""What a network's scores stand between: the mixture itself, and a mask that knows the vocals."""

from __future__ import annotations

import torch
from torch import Tensor

from htmdsep.model import NetworkOutput
from htmdsep.training.validation import WindowEstimator

WINDOW, HOP = 2048, 512  # samples, 93 and 23 ms at 22 050 Hz
FLOOR = 1e-10  # power, so that silence has a mask


def mixture_itself(mixtures: Tensor, _vocals: Tensor) -> NetworkOutput:
    """Return the mixtures, the lower bound."""
    return NetworkOutput(mixtures, None)


def ideal_ratio_mask(mixtures: Tensor, vocals: Tensor) -> NetworkOutput:
    """Return mixtures times the vocals' true share of power in each bin, an upper bound.

    That is |V|^2 / (|V|^2 + |A|^2) of the short-time Fourier transforms.
    """
    window = torch.hann_window(WINDOW)
    mixed, sung = (
        torch.stft(signal, WINDOW, HOP, window=window, return_complex=True)
        for signal in (mixtures.flatten(0, 1), vocals.flatten(0, 1))
    )
    power = sung.abs().square()
    mask = power / (power + (mixed - sung).abs().square() + FLOOR)
    estimate = torch.istft(mixed * mask, WINDOW, HOP, window=window, length=mixtures.shape[2])
    return NetworkOutput(estimate.reshape(mixtures.shape), None)


REFERENCES: dict[str, WindowEstimator] = {"mixture": mixture_itself, "oracle": ideal_ratio_mask}
