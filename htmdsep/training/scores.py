"""SDR, SI-SDR and PES of whole windows, for validation while training."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-10  # power added on both sides of a ratio


def sdr(target: Tensor, estimate: Tensor) -> Tensor:
    """Return 10 log10 of target power over error power, over the last dimension, in dB."""
    error = (target - estimate).square().sum(dim=-1)
    return 10 * torch.log10((target.square().sum(dim=-1) + FLOOR) / (error + FLOOR))


def si_sdr(target: Tensor, estimate: Tensor) -> Tensor:
    """Return the scale-invariant SDR over the last dimension, in dB.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    scale = (target * estimate).sum(dim=-1, keepdim=True) / (
        target.square().sum(dim=-1, keepdim=True) + FLOOR
    )
    return sdr(scale * target, estimate)


def levels_at_silence(target: Tensor, signals: Tensor, frame: int) -> Tensor:
    """Return the level in dB full scale of every frame whose target is silent.

    Targets (..., time) below -60 dBFS RMS in a frame count as silent. Of signals (n, ..., time)
    the result is (n, silent frames). An estimate's levels are its predicted energy at silence.
    """
    silent = target.unfold(-1, frame, frame).square().mean(dim=-1) < 1e-6
    powers = signals.unfold(-1, frame, frame).square().mean(dim=-1)
    return 10 * torch.log10(powers[:, silent] + FLOOR)
