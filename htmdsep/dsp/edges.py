"""Context before a stream's first frame and after its last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from htmdsep.dsp.blocks import equal_blocks

CONTEXT_SECONDS = 1.5  # mirrored at either end of a stream


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
