"""Stream a mixture of any length, rate and number of channels through a mono network.

This is the one place where numpy's (frames, channels) meets the network's (batch, channels, time).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from htmdsep.chunks import Segment, cut_segments, equal_blocks, overlap_add
from htmdsep.inference import Estimator
from htmdsep.levels import with_gains
from htmdsep.resample import resample_blocks
from htmdsep.stereo import spread_estimate

BLOCK_LENGTH = (
    65_536  # frames; blocks of any length are cut to this, so results do not depend on it
)


class Pair(NamedTuple):
    """A mixture and the vocals estimated in it, aligned to the sample."""

    mixture: np.ndarray  # (frames, channels) float32
    vocals: np.ndarray  # (frames, channels) float32


@dataclass(frozen=True)
class Engine:
    """A network's estimator, and the segments it works in."""

    estimator: Estimator
    sample_rate: int  # Hz, the network's
    segment_length: int  # samples
    hop_length: int  # samples
    input_level: float | None = None  # dBFS RMS that the network wants its segments at

    def estimate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Map a stream at the network's rate to the stream of its vocals, of the same length."""
        segments = cut_segments(blocks, self.segment_length, self.hop_length)
        return overlap_add(self._estimated(segments), self.segment_length, self.hop_length)

    def _estimated(self, segments: Iterator[Segment]) -> Iterator[Segment]:
        # Places and gains of the segments that the estimator has taken
        places: deque[tuple[int, int, np.ndarray]] = deque()

        def taken() -> Iterator[np.ndarray]:
            for segment, gain in with_gains(segments, self.input_level):
                places.append((segment.advance, segment.valid, gain))
                yield segment.samples * gain

        for estimate in self.estimator.estimates(taken()):
            advance, valid, gain = places.popleft()
            yield Segment(estimate / gain, advance, valid)


def separate_channels(
    engine: Engine, blocks: Iterable[np.ndarray], sample_rate: int, channels: int
) -> Iterator[Pair]:
    """Run every channel of a stream through the network, beside the delayed mixture."""

    def chain(tapped: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        inputs = resample_blocks(tapped, channels, sample_rate, engine.sample_rate)
        return resample_blocks(engine.estimate(inputs), channels, engine.sample_rate, sample_rate)

    return beside_mixture(equal_blocks(blocks, BLOCK_LENGTH), chain)


def separate_mean(
    engine: Engine, blocks: Iterable[np.ndarray], sample_rate: int, channels: int
) -> Iterator[Pair]:
    """Run the mean of a stream's channels through the network, and spread the estimate."""

    def chain(tapped: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        delayed = Delay()
        mono = (block.mean(axis=1, keepdims=True) for block in delayed.tap(tapped))
        estimates = separate_channels(engine, mono, sample_rate, 1)
        pairs = ((delayed.take(len(pair.vocals)), pair.vocals) for pair in estimates)
        return spread_estimate(pairs, sample_rate, estimate_rate=engine.sample_rate)

    assert channels > 1
    return beside_mixture(equal_blocks(blocks, BLOCK_LENGTH), chain)


def beside_mixture(
    blocks: Iterable[np.ndarray],
    chain: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]],
) -> Iterator[Pair]:
    """Pair what a chain makes of a stream with that stream, held back as long as the chain takes.

    The chain's output starts with the stream's first frame; where it ends early (a round trip of
    sample rates may lose a frame or two) zeros follow, where it ends late it is cut.
    """
    delayed = Delay()
    ahead = np.zeros((0, 1), np.float32)
    for vocals in chain(delayed.tap(blocks)):
        ahead = np.concatenate([ahead, vocals]) if len(ahead) else vocals
        mixture = delayed.take(len(ahead))
        if len(mixture):
            yield Pair(mixture, ahead[: len(mixture)])
            ahead = ahead[len(mixture) :]
    if delayed.length:
        rest = delayed.take(delayed.length)
        yield Pair(rest, np.zeros_like(rest))


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
