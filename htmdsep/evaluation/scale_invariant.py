"""The scale-invariant ratio, which one factor and no filter may distort."""

from __future__ import annotations

import numpy as np


def si_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Return 10 log10 |a s|^2 / |a s - e|^2, a = <s, e> / <s, s>, over the last dimension, in dB.

    Infinite where nothing is left of the error, NaN where either signal is silent. Le Roux et al.,
    "SDR - half-baked or well done?", ICASSP 2019 (without removing means).
    """
    references = np.asarray(references, np.float64)
    estimates = np.asarray(estimates, np.float64)
    power = np.sum(references**2, axis=-1, keepdims=True)
    product = np.sum(references * estimates, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = product / power * references
        kept, error = np.sum(scaled**2, axis=-1), np.sum((scaled - estimates) ** 2, axis=-1)
        return np.asarray(10 * np.log10(kept / error))
