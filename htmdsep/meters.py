"""What a report tells of a stem: level, and how much of the time something sounds."""

from __future__ import annotations

import numpy as np

WINDOW_SECONDS = 0.1
ACTIVE_RMS = 10 ** (-45 / 20)  # -45 dBFS: below it a stem counts as silent


class LevelMeter:
    """Peak, RMS, and share of 0.1 s windows above -45 dBFS RMS, of a stream of blocks."""

    def __init__(self, sample_rate: int) -> None:
        self.peak = 0.0
        self._window_length = max(1, round(WINDOW_SECONDS * sample_rate))
        self._squares = 0.0
        self._samples = 0
        self._channels = 1
        self._pending = np.zeros(0, np.float32)  # powers of an unfinished window
        self._windows = self._active = 0

    def add(self, block: np.ndarray) -> None:
        """Take in a (frames, channels) block, full scale at 1."""
        if not block.size:
            return
        powers = np.square(block) @ np.ones(block.shape[1], block.dtype)  # (frames,)
        self.peak = max(self.peak, float(block.max()), -float(block.min()))
        self._squares += float(powers.sum(dtype=np.float64))
        self._samples += block.size
        self._channels = block.shape[1]
        self._pending = np.concatenate([self._pending, powers])
        whole = len(self._pending) - len(self._pending) % self._window_length
        self._count(self._pending[:whole].reshape(-1, self._window_length))
        self._pending = self._pending[whole:]

    @property
    def rms(self) -> float:
        """Root mean square over all samples."""
        return float(np.sqrt(self._squares / max(1, self._samples)))

    def active_share(self) -> float:
        """Return the share of windows in which something sounds; call it once, at the end."""
        if len(self._pending):
            self._count(self._pending[None])
            self._pending = self._pending[:0]
        return self._active / max(1, self._windows)

    def _count(self, windows: np.ndarray) -> None:
        self._windows += len(windows)
        self._active += int(np.count_nonzero(windows.mean(axis=1) > ACTIVE_RMS**2 * self._channels))
