from __future__ import annotations

import numpy as np
import pytest

from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import CachedStem
from htmdsep.training.segments import SongSegments

LENGTH = 100


def numbered(name: str, frames: int, first: int) -> CachedStem:
    """Return a stem whose segments each hold one value of their own."""
    return CachedStem(name, (first + np.arange(frames) // LENGTH).astype(np.int16) * 10)


PAIRS = tuple(
    (numbered("v", frames, first), CachedStem("a", np.zeros(frames, np.int16)))
    for frames, first in ((1050, 1), (760, 101))
)


def values(batches: SongSegments, step: int) -> list[int]:
    mixture, vocals = batches.batch(step)
    assert mixture.shape == vocals.shape == (batches.batch_size, 1, LENGTH)
    assert (mixture == vocals).all()
    return [round(float(row[0, 0]) * 32_768 / 2 / 10) for row in vocals]


def test_every_epoch_visits_every_segment_once_in_another_order() -> None:
    batches = SongSegments(PAIRS, LENGTH, 4, seed=0)
    assert batches.steps_per_epoch == 4
    epochs = [
        [value for step in range(4) for value in values(batches, 4 * epoch + step)]
        for epoch in range(2)
    ]
    known = {*range(1, 11), *range(101, 108)}
    for epoch in epochs:
        assert len(set(epoch)) == 16
        assert set(epoch) <= known
    assert epochs[0] != epochs[1]


def test_processes_share_an_epoch() -> None:
    ranks = [SongSegments(PAIRS, LENGTH, 2, 0, rank, 2) for rank in (0, 1)]
    alone = SongSegments(PAIRS, LENGTH, 4, 0)
    for step in range(4):
        assert [v for batches in ranks for v in values(batches, step)] == values(alone, step)


def test_too_few_segments_are_an_error() -> None:
    with pytest.raises(HtmdsepError, match="17 segments of 100 samples, too few"):
        SongSegments(PAIRS, LENGTH, 18, 0)
