"""Random excerpts of cached stems, sources weighted by the root of their duration."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htmdsep.training.cache import CachedStem

ATTEMPTS = 5  # at an excerpt that is not silent
ACTIVE_RMS = 3e-3  # -50 dBFS


@dataclass(frozen=True)
class Pool:
    """Stems to draw from, each with its probability."""

    stems: tuple[CachedStem, ...]
    odds: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, length: int) -> NDArray[np.float32]:
        """Return `length` samples from a random place of a random stem, silent only if unlucky."""
        for _ in range(ATTEMPTS):
            stem = self.stems[rng.choice(len(self.stems), p=self.odds)]
            excerpt = stem.read(random_start(rng, stem, length), length)
            if is_active(excerpt):
                break
        return excerpt


def make_pool(stems: Sequence[CachedStem]) -> Pool:
    """Weigh sources by the square root of their duration, and their files by duration.

    Files whose names begin with the same letters (`anna-01.wav`, `anna-02.wav`) are one source,
    such as one singer.
    """
    sources: dict[str, float] = defaultdict(float)
    for stem in stems:
        sources[_source(stem)] += len(stem.samples)
    odds = np.array([len(stem.samples) / np.sqrt(sources[_source(stem)]) for stem in stems])
    return Pool(tuple(stems), odds / odds.sum())


def _source(stem: CachedStem) -> str:
    folder, _, name = stem.name.partition("/")
    letters = re.match(r"[^\W\d_]+", name)
    return f"{folder}/{letters.group() if letters and folder != 'songs' else name}"


def random_start(rng: np.random.Generator, stem: CachedStem, length: int) -> int:
    """Draw a first sample; a stem shorter than `length` starts within the excerpt."""
    spare = len(stem.samples) - length
    return int(rng.integers(min(spare, 0), max(spare, 0) + 1))


def is_active(excerpt: NDArray[np.float32]) -> bool:
    """Tell whether an excerpt is louder than -50 dBFS."""
    return float(np.sqrt(np.mean(excerpt**2))) > ACTIVE_RMS
