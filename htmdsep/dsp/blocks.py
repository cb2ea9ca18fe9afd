"""Streaming sample-rate conversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr

BLOCK_LENGTH = 65_536  # frames; results do not depend on it


def equal_blocks(
    blocks: Iterable[np.ndarray], block_length: int = BLOCK_LENGTH
) -> Iterator[np.ndarray]:
    """Cut a stream of blocks of any length into blocks of one length; the last may be shorter."""
    pending: list[np.ndarray] = []
    held = 0
    for block in blocks:
        if not held and len(block) == block_length:
            yield block
            continue
        pending.append(block)
        held += len(block)
        if held >= block_length:
            joined = np.concatenate(pending)
            whole = held - held % block_length
            yield from np.split(joined[:whole], whole // block_length)
            pending, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(pending)


def resample_blocks(
    blocks: Iterable[np.ndarray], from_rate: float, to_rate: float
) -> Iterator[np.ndarray]:
    """Convert (frames, channels) float32 blocks from one sample rate (Hz) to another.

    Equal to converting the whole signal at once; a round trip may end a sample longer or shorter.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    remaining = iter(blocks)
    first = next(remaining, None)
    if first is None:
        return
    channels = first.shape[1]
    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")
    for block in chain([first], remaining):
        converted = stream.resample_chunk(np.ascontiguousarray(block))
        if len(converted):
            yield converted
    tail = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    if len(tail):
        yield tail
