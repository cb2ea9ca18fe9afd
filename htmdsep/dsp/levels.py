"""Levels: thresholds of silence, meters, and the gains that bring segments to a level."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from htmdsep.dsp.overlap_add import Segment

SOUNDING_DBFS = -45.0  # above it a tenth of a second of a stem counts as sound in a report
WORTH_READING_DBFS = -50.0  # above it an excerpt is worth training on
INAUDIBLE_DBFS = -60.0  # below it nobody will hear anything
SUNG_DBFS = -70.0  # above it a validation window holds singing
EMPTY_DBFS = -80.0  # below it a file holds nothing


def power_of(level: float) -> float:
    """Return the mean square of a level in dBFS RMS, full scale at 1."""
    return float(10 ** (level / 10))


WINDOW_SECONDS = 0.1


class LevelMeter:
    """Peak, RMS, and share of 0.1 s windows above -45 dBFS RMS, of a stream of blocks."""

    def __init__(self, sample_rate: int) -> None:
        self.peak = 0.0
        self._window_length = max(1, round(WINDOW_SECONDS * sample_rate))
        self._pending = np.zeros((0, 0), np.float32)  # the beginning of a window
        self._squares = 0.0  # of whole windows
        self._samples = self._windows = self._active = 0

    def add(self, block: np.ndarray) -> None:
        """Take in a (frames, channels) block, full scale at 1."""
        if not block.size:
            return
        self.peak = max(self.peak, float(block.max()), -float(block.min()))
        held = np.concatenate([self._pending, block]) if len(self._pending) else block
        windows, rest = divmod(len(held), self._window_length)
        whole = held[: len(held) - rest].reshape(windows, self._window_length * held.shape[1])
        squares = np.einsum("ij,ij->i", whole, whole)
        self._squares += float(squares.sum())
        self._samples += whole.size
        self._windows += windows
        self._active += int(np.count_nonzero(squares > power_of(SOUNDING_DBFS) * whole.shape[1]))
        self._pending = held[len(held) - rest :]

    @property
    def rms(self) -> float:
        """Root mean square over all samples."""
        squares = self._squares + float(np.square(self._pending).sum())
        return math.sqrt(squares / max(1, self._samples + self._pending.size))

    @property
    def active_share(self) -> float:
        """Share of windows in which something sounds; what is left at the end is a window, too."""
        if not len(self._pending):
            return self._active / max(1, self._windows)
        is_active = float(np.square(self._pending).mean()) > power_of(SOUNDING_DBFS)
        return (self._active + is_active) / (self._windows + 1)


# Of the gain, so that a noise floor stays one: dither of 16 bits, -98 dBFS, goes in at -38 dBFS.
MAX_GAIN_DB = 60.0


def with_gains(
    segments: Iterable[Segment], level: float | None, together: int = 1
) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield each segment with the gains, float32 (channels,), that bring it to a level.

    `level` is in dBFS RMS, of the segment and of its neighbours on either side, so that a rest
    between two phrases is not turned up as far as they are; every `together` channels have one
    gain. None stands for gains of 1. One segment is read ahead.
    """
    powers = deque[np.ndarray](maxlen=3)  # of the segment before, of this one and of the next
    held: Segment | None = None
    for segment in segments:
        powers.append(_powers(segment, together))
        if held is not None:
            yield held, _gains(level, powers)
        held = segment
    if held is not None:
        yield held, _gains(level, list(powers)[-2:])


def _powers(segment: Segment, together: int) -> np.ndarray:
    """Return the mean squares of a segment's groups of channels, one a channel."""
    columns = np.ascontiguousarray(segment.samples[: segment.valid].T)
    powers = [float(column @ column) / segment.valid for column in columns]
    groups = [powers[first : first + together] for first in range(0, len(powers), together)]
    return np.concatenate([np.full(len(group), np.mean(group)) for group in groups])


def _gains(level: float | None, powers: Sequence[np.ndarray]) -> np.ndarray:
    if level is None:
        return np.ones(len(powers[0]), np.float32)
    rms = np.sqrt(np.mean(powers, axis=0))
    wanted = 10 ** (level / 20) / np.maximum(rms, 1e-30)
    gains: np.ndarray = np.minimum(wanted, 10 ** (MAX_GAIN_DB / 20)).astype(np.float32)
    return gains
