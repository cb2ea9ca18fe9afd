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
    sounding = (signals != 0).any(axis=2)
    totals = np.cumsum(np.pad(sounding, ((0, 0), (1, 0))), axis=1, dtype=np.int64)
    first = np.asarray(starts)
    last = np.minimum(first + window_length, signals.shape[1])
    return np.asarray((totals[:, last] == totals[:, first]).any(axis=0))
