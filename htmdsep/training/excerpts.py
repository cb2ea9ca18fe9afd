"""Random excerpts of cached stems, sources weighted by the root of their duration."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from htmdsep.training.cache import CachedStem

ATTEMPTS = 5  # at an excerpt that is not silent
ACTIVE_RMS = 3e-3  # -50 dBFS


@dataclass(frozen=True)
class Pool:
    """Stems to draw from, each with its probability."""

    stems: tuple[CachedStem, ...]
    odds: np.ndarray

    def draw(self, rng: np.random.Generator, length: int) -> np.ndarray:
        """Return int16 samples from a random place of a random stem, silent only if unlucky."""
        stem = self.stems[rng.choice(len(self.stems), p=self.odds)]
        return stem.read_integers(random_active_start(rng, stem, length), length)


def make_pool(stems: Sequence[CachedStem]) -> Pool | None:
    """Weigh sources by the square root of their duration, and their files by duration.

    Files of a folder whose names begin with the same letters (`anna-01.wav`, `anna-02.wav`) are
    one source, such as one singer; every song is a source. None where there are no stems.
    """
    if not stems:
        return None
    sources: dict[str, float] = defaultdict(float)
    for stem in stems:
        sources[_source(stem)] += len(stem.samples)
    odds = np.array([len(stem.samples) / np.sqrt(sources[_source(stem)]) for stem in stems])
    return Pool(tuple(stems), odds / odds.sum())


def _source(stem: CachedStem) -> str:
    folder, _, name = stem.name.partition("/")
    letters = re.match(r"[^\W\d_]+", name)
    return f"{folder}/{letters.group() if letters and folder != 'songs' else name}"


def random_active_start(rng: np.random.Generator, stem: CachedStem, length: int) -> int:
    """Draw the first sample of an excerpt that is not silent, unless five attempts fail.

    A stem shorter than `length` starts within the excerpt, which is then negative.
    """
    spare = len(stem.samples) - length
    for _ in range(ATTEMPTS):
        start = int(rng.integers(min(spare, 0), max(spare, 0) + 1))
        excerpt = stem.read(start, length)
        if float(np.dot(excerpt, excerpt)) > ACTIVE_RMS**2 * length:
            break
    return start
