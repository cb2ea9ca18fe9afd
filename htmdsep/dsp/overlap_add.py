"""Cut a stream into overlapping segments and put it together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from htmdsep.dsp.blocks import equal_blocks


class Segment(NamedTuple):
    """A piece of the stream, zero-padded at the end where the whole stream is shorter."""

    samples: np.ndarray  # (segment_length, channels) float32
    advance: int  # frames from the start of the segment before it
    valid: int  # how many of its frames are the stream's


def hop_for(segment_length: int, overlap: float) -> int:
    """Return how far apart segments start that share `overlap`, 0 to below 1, of their length."""
    return max(1, round(segment_length * (1 - overlap)))


def cut_segments(
    blocks: Iterable[np.ndarray], segment_length: int, hop_length: int
) -> Iterator[Segment]:
    """Cut a stream of (frames, channels) blocks into segments that start every hop.

    Every frame is in at least one segment; an empty stream has none. The last segment ends with the
    stream, however little after the one before it starts: before zeros, a network that was trained
    on segments of music blurs the last seconds (docs/recipe.md).
    """
    assert 0 < hop_length <= segment_length
    held, passed, advance = None, None, 0  # frames from the next start on; those just before it
    for block in equal_blocks(blocks, hop_length):
        held = block if held is None else np.concatenate([held, block])
        if len(held) > segment_length:
            yield Segment(held[:segment_length], advance, segment_length)
            passed, held, advance = held[:hop_length], held[hop_length:], hop_length
    if held is None:
        return
    # At most a segment is left, and more than the segment before it covers: that one was cut
    # only when more than segment_length - hop_length frames remained behind its hop.
    missing = segment_length - len(held)
    if passed is None:
        yield Segment(np.pad(held, ((0, missing), (0, 0))), 0, len(held))
    else:
        whole = np.concatenate([passed[hop_length - missing :], held])
        yield Segment(whole, hop_length - missing, segment_length)


def overlap_add(
    segments: Iterable[Segment], segment_length: int, hop_length: int
) -> Iterator[np.ndarray]:
    """Join segments into a stream of blocks, fading from one to the next over the overlap.

    Each sum is divided by the sum of its weights, so segments that agree are returned as they
    were, for any hop: sum(w x) / sum(w) = x.
    """
    weights = fade_weights(segment_length, hop_length)[:, None]  # (segment_length, 1)
    total = weight_sum = np.zeros((0, 1), np.float32)
    valid = 0
    for segment in segments:
        if valid:
            yield _mean(total[: segment.advance], weight_sum[: segment.advance])
        total = _add_shifted(total[segment.advance :], segment.samples * weights)
        weight_sum = _add_shifted(weight_sum[segment.advance :], weights.copy())
        valid = segment.valid
    if valid:
        yield _mean(total[:valid], weight_sum[:valid])


def fade_weights(segment_length: int, hop_length: int) -> np.ndarray:
    """Return the weights of a segment: 1, but for linear ramps over the overlaps, never 0."""
    overlap_length = min(segment_length - hop_length, segment_length // 2)
    ramp = np.linspace(0, 1, overlap_length + 2, dtype=np.float32)[1:-1]
    middle = np.ones(segment_length - 2 * overlap_length, np.float32)
    return np.concatenate([ramp, middle, ramp[::-1]])


def _add_shifted(carried: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Add what is carried to the beginning of what comes, in place."""
    added[: len(carried)] += carried
    return added


def _mean(total: np.ndarray, weight_sum: np.ndarray) -> np.ndarray:
    """Divide by the sum of the weights, in place and where it is not 1: in overlaps and at ends."""
    faded = np.flatnonzero(weight_sum != 1)
    total[faded] /= weight_sum[faded]
    return total
