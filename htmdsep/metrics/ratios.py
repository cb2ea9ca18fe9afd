"""The ratios of whole signals, which know no filters: SDR, and SDR up to a factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-10  # power that keeps the ratios of silence finite


def sdr(target: Tensor, estimate: Tensor, floor: float = FLOOR) -> Tensor:
    """Return 10 log10 of target power over error power, over the last dimension, in dB.

    `floor` is added to both powers. A training step's figures must not wait for a GPU.
    """
    error = (target - estimate).square().sum(dim=-1)
    return 10 * ((target.square().sum(dim=-1) + floor) / (error + floor)).log10()


def si_sdr(references: np.ndarray, estimates: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Return 10 log10 |a s|^2 / |a s - e|^2, a = <s, e> / <s, s>, over the last dimension, in dB.

    Without a `floor`, added to each power, it is infinite where no error is left and NaN where
    either is silent. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019; means stay.
    """
    references = np.asarray(references, np.float64)
    estimates = np.asarray(estimates, np.float64)
    power = np.sum(references**2, axis=-1, keepdims=True) + floor
    product = np.sum(references * estimates, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = product / power * references
        kept, error = np.sum(scaled**2, axis=-1), np.sum((scaled - estimates) ** 2, axis=-1)
        return np.asarray(10 * np.log10((kept + floor) / (error + floor)))
