"""What random mixes are drawn from: stems by the length of their sources, and places in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from htmdsep.dsp.levels import WORTH_READING_DBFS, power_of
from htmdsep.training.augment.draw import LABEL, PAIR, SONG_VOICE, VOICE, VOICELESS, MixSettings
from htmdsep.training.cache import CachedStem, StemPair

ATTEMPTS = 5  # at an excerpt that is not silent


class Place(NamedTuple):
    """Where an excerpt begins."""

    stem: CachedStem
    start: int

    def read_integers(self, length: int) -> np.ndarray:
        """Return the excerpt as int16 (channels, length), in the cache's UNIT."""
        return self.stem.read_integers(self.start, length)


def active_place(rng: np.random.Generator, stem: CachedStem, length: int) -> Place:
    """Draw a place that is not silent, in five attempts; it begins below 0 in short stems."""
    spare = len(stem.samples) - length
    least = power_of(WORTH_READING_DBFS) * length
    for _ in range(ATTEMPTS):
        start = int(rng.integers(min(spare, 0), max(spare, 0) + 1))
        excerpt = stem.read(start, length).mean(axis=0)
        if float(np.dot(excerpt, excerpt)) > least:
            break
    return Place(stem, start)


@dataclass(frozen=True)
class StemPool:
    """Stems to draw from, each with its probability."""

    stems: tuple[CachedStem, ...]
    odds: np.ndarray

    def draw(self, rng: np.random.Generator, length: int) -> Place:
        """Return a random place of a random stem, where it is silent only if unlucky."""
        return active_place(rng, self.stems[rng.choice(len(self.stems), p=self.odds)], length)


def make_pool(stems: Sequence[CachedStem]) -> StemPool:
    """Weigh sources by the square root of their duration, and their files by duration.

    Files of a folder whose names begin with the same letters (`anna-01.wav`, `anna-02.wav`) are
    one source, such as one singer; every song is a source.
    """
    sources: dict[str, float] = defaultdict(float)
    for stem in stems:
        sources[_source(stem)] += len(stem.samples)
    odds = np.array([len(stem.samples) / np.sqrt(sources[_source(stem)]) for stem in stems])
    return StemPool(tuple(stems), odds / odds.sum())


def _source(stem: CachedStem) -> str:
    folder, _, name = stem.name.partition("/")
    letters = re.match(r"[^\W\d_]+", name)
    return f"{folder}/{letters.group() if letters and folder != 'songs' else name}"


@dataclass(frozen=True)
class Sources:
    """What random mixing draws from; of all but accompaniments there may be none."""

    pairs: list[StemPair]
    labels: list[StemPair]
    song_voices: StemPool
    voices: StemPool
    accompaniments: StemPool

    def draw_kinds(self, rng: np.random.Generator, settings: MixSettings, rows: int) -> np.ndarray:
        """Return the kinds (rows,) of a batch's rows, of which there is something to draw."""
        labels = settings.labels * bool(self.labels)
        others = settings.pairs + labels + settings.song_voices + settings.voiceless
        odds = np.zeros(5)
        odds[PAIR] = settings.pairs * bool(self.pairs)
        odds[LABEL] = labels
        odds[SONG_VOICE] = settings.song_voices * bool(self.song_voices.stems)
        odds[VOICE] = max(0.0, 1 - others) * bool(self.voices.stems)
        odds[VOICELESS] = settings.voiceless
        return rng.choice(len(odds), size=rows, p=odds / odds.sum())

    def draw_row(
        self, rng: np.random.Generator, kind: int, length: int
    ) -> tuple[Place | None, Place]:
        """Return the places of a row's vocals, None without any, and of its music."""
        if kind in (PAIR, LABEL):
            pairs = self.pairs if kind == PAIR else self.labels
            vocals, music = pairs[rng.integers(len(pairs))]
            place = active_place(rng, vocals, length)
            return place, Place(music, place.start)
        pool = {SONG_VOICE: self.song_voices, VOICE: self.voices}.get(kind)
        sung = pool.draw(rng, length) if pool else None
        return sung, self.accompaniments.draw(rng, length)
