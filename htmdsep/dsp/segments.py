"""A stream through what estimates segments: mirrored ends, levels, overlaps that fade."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from htmdsep.dsp.blocks import equal_blocks
from htmdsep.dsp.levels import with_gains
from htmdsep.dsp.overlap_add import Segment, cut_segments, overlap_add

CONTEXT_SECONDS = 1.5  # mirrored at either end of a stream


@dataclass(frozen=True)
class StreamEstimator:
    """What estimates segments, and the segments it works in.

    It maps them, (segment_length, channels) and perhaps taken ahead, to as many channels or a
    multiple, and to others that have no level, or None.
    """

    estimates: Callable[[Iterator[np.ndarray]], Iterable[tuple[np.ndarray, np.ndarray | None]]]
    sample_rate: int  # Hz
    segment_length: int  # samples
    hop_length: int  # samples
    network_channels: int = 1  # that are heard together
    input_level: float | None = None  # dBFS RMS that segments are brought to

    def estimate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Map a stream (frames, channels) to its estimates, those without a level behind."""
        context_length = round(CONTEXT_SECONDS * self.sample_rate)
        edged = with_mirrored_edges(blocks, context_length)
        cut = cut_segments(edged, self.segment_length, self.hop_length)
        # Places and gains of the segments that are being estimated
        taken: deque[tuple[int, int, np.ndarray]] = deque()

        def levelled() -> Iterator[np.ndarray]:
            for segment, gain in with_gains(cut, self.input_level, self.network_channels):
                taken.append((segment.advance, segment.valid, gain))
                # Channel by channel in memory, as networks take them
                yield np.multiply(segment.samples.T, gain[:, None], order="C").T

        def estimated() -> Iterator[Segment]:
            for estimate, others in self.estimates(levelled()):
                advance, valid, gain = taken.popleft()
                found = estimate / np.tile(gain, estimate.shape[1] // len(gain))
                if others is not None:
                    found = np.concatenate([found, others], axis=1)
                yield Segment(found, advance, valid)

        joined = overlap_add(estimated(), self.segment_length, self.hop_length)
        return without_edges(joined, context_length)


def with_mirrored_edges(blocks: Iterable[np.ndarray], context_length: int) -> Iterator[np.ndarray]:
    """Yield a stream of (frames, channels) blocks between mirror images of its ends.

    So many frames come before it and after it. Before zeros, a network that knows music takes what
    begins at once for a voice.
    """
    remaining = equal_blocks(blocks, context_length + 1)
    first = next(remaining, None)
    if first is None:
        return
    if len(first) <= context_length:
        yield np.pad(first, ((context_length, context_length), (0, 0)), "symmetric")
        return
    yield first[:context_length][::-1]
    yield first
    ends = deque([first], 2)  # of which the last may be shorter than the context
    for block in remaining:
        yield block
        ends.append(block)
    yield np.concatenate(ends)[-context_length:][::-1]


def without_edges(blocks: Iterable[np.ndarray], context_length: int) -> Iterator[np.ndarray]:
    """Yield a stream without so many frames at either end."""
    skipped, held = 0, None
    for block in blocks:
        dropped = min(context_length - skipped, len(block))
        skipped += dropped
        held = block[dropped:] if held is None else np.concatenate([held, block[dropped:]])
        if len(held) > context_length:
            yield held[:-context_length]
            held = held[-context_length:]
