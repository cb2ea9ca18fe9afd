"""Stream a mixture of any length, rate and number of channels through a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from htmdsep.dsp.blocks import equal_blocks, resample_blocks
from htmdsep.dsp.segments import StreamEstimator
from htmdsep.separation.high_band import add_high_band, stack_for_high_band
from htmdsep.separation.pairs import Pair, beside, mute_silence

# What further passes are played faster by: of -2, -1 and 1 semitones the first helps most on unseen
# clips (docs/recipe.md).
SHIFTS_SEMITONES = (-2, -1, 1)


def separate_stream(
    network: StreamEstimator,
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    shifts: int = 0,
) -> Iterator[Pair]:
    """Run a stream of (frames, channels) blocks at a rate in Hz through the network.

    `shifts` further passes are played faster or slower, and all of them averaged. Yields the
    mixture beside its vocals, as many frames as came.
    """
    speeds = [2 ** (semitones / 12) for semitones in (0, *SHIFTS_SEMITONES[:shifts])]
    streams = _fan_out(equal_blocks(blocks), len(speeds))
    passes = [
        _one_pass(network, stream, sample_rate, network.sample_rate * speed)
        for stream, speed in zip(streams, speeds, strict=True)
    ]
    return mute_silence(_averaged(passes) if shifts else passes[0], sample_rate)


def _fan_out(blocks: Iterator[np.ndarray], count: int) -> list[Iterator[np.ndarray]]:
    """Return a stream so many times; what one has taken is held until all have.

    `itertools.tee` holds up to 57 blocks more.
    """
    waiting: list[deque[np.ndarray]] = [deque() for _ in range(count)]

    def one(mine: deque[np.ndarray]) -> Iterator[np.ndarray]:
        while True:
            if not mine:
                block = next(blocks, None)
                if block is None:
                    return
                for other in waiting:
                    other.append(block)
            yield mine.popleft()

    return [one(mine) for mine in waiting]


def _one_pass(
    network: StreamEstimator, blocks: Iterable[np.ndarray], sample_rate: int, heard_rate: float
) -> Iterator[Pair]:
    """Yield a mixture beside its vocals, resampled to `heard_rate` Hz for the network."""
    is_wide = sample_rate > heard_rate

    def chain(tapped: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        resampled = resample_blocks(tapped, sample_rate, heard_rate)
        # Behind the vocals there may be what share of the higher frequencies is the voice's
        made = (
            stack_for_high_band(heard, estimate) if is_wide else estimate[:, : heard.shape[1]]
            for heard, estimate in beside(resampled, network.estimate)
        )
        return resample_blocks(made, heard_rate, sample_rate)

    for mixture, made in beside(blocks, chain):
        yield Pair(mixture, add_high_band(mixture, made))


def _averaged(passes: list[Iterator[Pair]]) -> Iterator[Pair]:
    """Yield the mixture beside the mean of the passes' vocals."""
    stacked = [(np.concatenate(pair, axis=1) for pair in one) for one in passes]
    for blocks in zip(*(equal_blocks(one) for one in stacked), strict=True):
        channels = blocks[0].shape[1] // 2
        vocals: np.ndarray = sum(block[:, channels:] for block in blocks) / np.float32(len(blocks))
        yield Pair(blocks[0][:, :channels], vocals)
