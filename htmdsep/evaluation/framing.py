"""Where the frames of an evaluation lie, and which of them say nothing."""

from __future__ import annotations

import numpy as np


def count_frames(frames: int, window_length: int, hop_length: int) -> int:
    """Return how many whole windows fit into a signal; one, of the signal itself, if none does.

    As in BSS Eval v4 the last window is left out where it would be a partial one.
    """
    if window_length >= frames:
        return 1
    return (frames - window_length) // hop_length + 1


def frame_starts(frames: int, window_length: int, hop_length: int) -> range:
    """Return the first sample of every window."""
    return range(0, count_frames(frames, window_length, hop_length) * hop_length, hop_length)


def silent_frames(signals: np.ndarray, starts: range, window_length: int) -> np.ndarray:
    """Tell for every window whether some signal of (signals, frames, channels) is all zeros in it.

    Returns (windows,) booleans. BSS Eval adds the channels up first and so also takes a signal in
    antiphase for silence; here it is not.
    """
    heard = [signals[:, start : start + window_length].any(axis=(1, 2)).all() for start in starts]
    return ~np.array(heard, bool)
