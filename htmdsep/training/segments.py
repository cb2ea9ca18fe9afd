"""The paper's batches: songs cut into segments that do not overlap, shuffled every epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import CachedStem
from htmdsep.training.loading import Batch


@dataclass(frozen=True)
class SongSegments:
    """Batches from aligned (vocals, accompaniment) pairs; a step's batch depends on the seed only.

    `world_size` processes share each step's segments, `batch_size` each.
    """

    pairs: tuple[tuple[CachedStem, CachedStem], ...]
    segment_length: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise HtmdsepError(
                f"the songs hold {len(self._places())} segments of {self.segment_length} samples, "
                f"too few for one batch of {self.batch_size * self.world_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches that all segments make."""
        return len(self._places()) // (self.batch_size * self.world_size)

    def batch(self, step: int) -> Batch:
        """Return mixtures and their vocals, both (batch, 1, time)."""
        places = self._places()
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(places))
        first = (position * self.world_size + self.rank) * self.batch_size
        chosen = places[order[first : first + self.batch_size]]
        vocals, music = (
            np.stack([self._read(song, segment, part) for song, segment in chosen])[:, None]
            for part in (0, 1)
        )
        return torch.from_numpy(vocals + music), torch.from_numpy(vocals)

    def _places(self) -> np.ndarray:
        """Return (song, segment) for every segment, (segments, 2)."""
        counts = [len(vocals.samples) // self.segment_length for vocals, _ in self.pairs]
        songs = np.repeat(np.arange(len(counts)), counts)
        segments = np.concatenate([np.arange(count) for count in counts] or [np.zeros(0, int)])
        return np.stack([songs, segments], axis=1)

    def _read(self, song: int, segment: int, part: int) -> np.ndarray:
        return self.pairs[song][part].read(segment * self.segment_length, self.segment_length)
