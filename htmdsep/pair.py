"""A mixture beside its vocals, and the delay that keeps them together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """A mixture and the vocals estimated in it, aligned to the sample."""

    mixture: np.ndarray  # (frames, channels) float32
    vocals: np.ndarray  # (frames, channels) float32


def beside(
    blocks: Iterable[np.ndarray],
    chain: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]],
) -> Iterator[Pair]:
    """Pair what a chain makes of a stream with that stream, held back as long as the chain takes.

    The chain's output starts with the stream's first frame; where it ends early (a round trip of
    sample rates may lose a frame or two) zeros follow, where it ends late it is cut.
    """
    delayed = Delay()
    ahead: np.ndarray | None = None
    for made in chain(delayed.tap(blocks)):
        ahead = made if ahead is None or not len(ahead) else np.concatenate([ahead, made])
        given = delayed.take(len(ahead))
        if len(given):
            yield Pair(given, ahead[: len(given)])
            ahead = ahead[len(given) :]
    if delayed.length:
        rest = delayed.take(delayed.length)
        columns = rest.shape[1] if ahead is None else ahead.shape[1]
        yield Pair(rest, np.zeros((len(rest), columns), np.float32))


class Delay:
    """Hold a stream back for as long as what is computed from it takes."""

    def __init__(self) -> None:
        self.length = 0  # frames held
        self._blocks: deque[np.ndarray] = deque()

    def tap(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass blocks on, and hold each."""
        for block in blocks:
            self._blocks.append(block)
            self.length += len(block)
            yield block

    def take(self, frames: int) -> np.ndarray:
        """Return the oldest frames held, at most as many as asked for."""
        parts = [np.zeros((0, 1), np.float32)] if not (frames and self._blocks) else []
        while frames > 0 and self._blocks:
            block = self._blocks.popleft()
            if len(block) > frames:
                self._blocks.appendleft(block[frames:])
                block = block[:frames]
            parts.append(block)
            frames -= len(block)
        self.length -= sum(map(len, parts))
        return np.concatenate(parts)
