"""What surrounds a stream: context before its first frame and after its last, and silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from htmdsep.pair import Pair

CONTEXT_SECONDS = 1.5  # mirrored at either end of a stream
SILENT_SECONDS = 0.01  # zeros for this long are silence, not a wave that crosses zero


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


def mute_silence(pairs: Iterable[Pair], sample_rate: int) -> Iterator[Pair]:
    """Let the vocals be zero wherever the mixture is digital silence in all of its channels.

    Runs of zeros that are shorter than a hundredth of a second are left: waves cross zero.
    """
    least = max(1, round(SILENT_SECONDS * sample_rate))
    held: Pair | None = None
    before = 0  # zero frames at the end of what was handed on
    for pair in pairs:
        if held is not None:
            pair = Pair(*map(np.concatenate, zip(held, pair, strict=True)))
        held = None
        starts, ends = _zero_runs(pair.mixture)
        lengths = ends - starts
        if len(starts) and starts[0] == 0:
            lengths[0] += before
        vocals = pair.vocals
        silent = lengths >= least
        if silent.any():
            vocals = vocals.copy()
            for start, end in zip(starts[silent], ends[silent], strict=True):
                vocals[start:end] = 0
        before, frames = 0, len(vocals)
        if len(ends) and ends[-1] == frames:
            if silent[-1]:
                before = int(lengths[-1])
            else:  # what follows decides
                frames = int(starts[-1])
                held = Pair(pair.mixture[frames:], vocals[frames:])
        if frames:
            yield Pair(pair.mixture[:frames], vocals[:frames])
    if held is not None:
        yield held


def _zero_runs(mixture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of frames that are zero in every channel begin and end."""
    zero = ~mixture.any(axis=1)
    if not zero.any():
        return np.zeros(0, int), np.zeros(0, int)
    changes = np.diff(zero.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(changes > 0), np.flatnonzero(changes < 0)
