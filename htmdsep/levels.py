"""Bring segments to the level that a network was trained at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from htmdsep.chunks import Segment

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
    before: np.ndarray | None = None
    held: tuple[Segment, np.ndarray] | None = None
    for segment in segments:
        power = _powers(segment, together)
        if held is not None:
            yield held[0], _gains(level, [before, held[1], power])
            before = held[1]
        held = segment, power
    if held is not None:
        yield held[0], _gains(level, [before, held[1]])


def _powers(segment: Segment, together: int) -> np.ndarray:
    """Return the mean squares of a segment's groups of channels, one a channel."""
    columns = np.ascontiguousarray(segment.samples[: segment.valid].T)
    powers = [float(column @ column) / segment.valid for column in columns]
    groups = [powers[first : first + together] for first in range(0, len(powers), together)]
    return np.concatenate([np.full(len(group), np.mean(group)) for group in groups])


def _gains(level: float | None, powers: list[np.ndarray | None]) -> np.ndarray:
    known = [power for power in powers if power is not None]
    if level is None:
        return np.ones(len(known[0]), np.float32)
    rms = np.sqrt(np.mean(known, axis=0))
    wanted = 10 ** (level / 20) / np.maximum(rms, 1e-30)
    gains: np.ndarray = np.minimum(wanted, 10 ** (MAX_GAIN_DB / 20)).astype(np.float32)
    return gains
