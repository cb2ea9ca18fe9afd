"""What an estimate holds where there should be nothing, and what is missing where it has nothing.

Two definitions of the predicted energy at silence (PES) are published. HTMD-Net's authors take
segments in which their voice detector hears little; K. Schulze-Forster et al. ("Weakly informed
audio source separation", WASPAA 2019) take frames of exact zeros, and add the energy at predicted
silence (EPS).
"""

from __future__ import annotations

import numpy as np

POWER_FLOOR = 1e-12  # added to an energy (Schulze-Forster et al.)
LEAST_LOG_RMS = -100.0  # floor of log10 RMS: -2000 dB (HTMD-Net's evaluation script)


def energy_at_silence(silent: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return the energy in dB of `measured` in each frame where `silent` is all zeros, else NaN.

    Both are (frames, samples). With the true source first this is PES, with the estimate first it
    is EPS: 10 log10(sum of squares + 1e-12).
    """
    energies = np.sum(np.asarray(measured, np.float64) ** 2, axis=1)
    levels = 10 * np.log10(energies + POWER_FLOOR)
    return np.where(np.any(silent, axis=1), np.nan, levels)


def level_at_inactivity(active_share: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return the RMS level in dB of each (segments, samples) estimate under little activity.

    NaN where the true voice is active in more than half of the segment's detector frames.
    """
    rms = np.sqrt(np.mean(np.asarray(estimate, np.float64) ** 2, axis=1))
    with np.errstate(divide="ignore"):
        levels = 20 * np.maximum(np.log10(rms), LEAST_LOG_RMS)
    return np.where(active_share > 0.5, np.nan, levels)
