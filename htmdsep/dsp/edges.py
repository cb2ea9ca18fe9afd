"""Context before a stream's first frame and after its last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

CONTEXT_SECONDS = 1.5  # mirrored at either end of a stream


def with_mirrored_edges(blocks: Iterable[np.ndarray], context_length: int) -> Iterator[np.ndarray]:
    """Yield a stream of (frames, channels) blocks between mirror images of its ends.

    So many frames come before it and after it. Before zeros, a network that knows music takes what
    begins at once for a voice.
    """
    remaining = iter(blocks)
    head: list[np.ndarray] = []
    for block in remaining:
        head.append(block)
        if sum(map(len, head)) > context_length:
            break
    if not any(map(len, head)):
        return
    first = np.concatenate(head)
    if len(first) <= context_length:
        yield np.pad(first, ((context_length, context_length), (0, 0)), "symmetric")
        return
    yield first[:context_length][::-1]
    yield first
    tail = first[-context_length:]
    for block in remaining:
        yield block
        tail = np.concatenate([tail, block])[-context_length:]
    yield tail[::-1]


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
