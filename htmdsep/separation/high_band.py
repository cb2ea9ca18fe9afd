"""Vocals above the network's band: a gain on what the mixture holds there.

The network tells what share of the highest frequencies it knows is the voice's. The same share of
what lies above them is taken: of the mixture less the mixture as the network heard it.
"""

from __future__ import annotations

import numpy as np


def stack_for_high_band(vocals: np.ndarray, gain: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Stack what `add_high_band` needs, (frames, 3 * channels), to be resampled as one."""
    return np.concatenate([vocals, gain, heard], axis=1)


def add_high_band(mixture: np.ndarray, stacked: np.ndarray) -> np.ndarray:
    """Return the vocals of a mixture (frames, channels), with those above the network's band."""
    vocals, gain, heard = np.split(stacked, 3, axis=1)
    high: np.ndarray = (mixture - heard) * gain.clip(0, 1)  # resampling may overshoot
    high += vocals
    return high
