"""What random mixes are drawn from, and the places of a batch in it."""

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


def make_pool(stems: Sequence[CachedStem]) -> StemPool | None:
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
    return StemPool(tuple(stems), odds / odds.sum())


def _source(stem: CachedStem) -> str:
    folder, _, name = stem.name.partition("/")
    letters = re.match(r"[^\W\d_]+", name)
    return f"{folder}/{letters.group() if letters and folder != 'songs' else name}"


@dataclass(frozen=True)
class Sources:
    """What random mixing draws from; a pool may be None where the folder has none."""

    pairs: list[StemPair]
    labels: list[StemPair]
    song_voices: StemPool | None
    voices: StemPool | None
    accompaniments: StemPool


class Places(NamedTuple):
    """Where the parts of a batch's rows lie; None: no vocals, no second accompaniment."""

    kinds: np.ndarray  # (rows,)
    vocals: list[Place | None]
    music: list[Place]
    seconds: list[Place | None]


def choose_places(
    rng: np.random.Generator, sources: Sources, settings: MixSettings, rows: int, *lengths: int
) -> Places:
    """Choose rows' kinds and places; `lengths` are the samples read, and those of them mixed."""
    source, mixed = lengths
    chosen = Places(_choose_kinds(rng, sources, settings, rows), [], [], [])
    pools = {SONG_VOICE: sources.song_voices, VOICE: sources.voices}
    pairs = {PAIR: sources.pairs, LABEL: sources.labels}
    for kind in chosen.kinds:
        joined = rng.random() < settings.second_source and kind not in pairs
        if kind in pairs:
            vocals, music = pairs[kind][rng.integers(len(pairs[kind]))]
            place = active_place(rng, vocals, source)
            chosen.vocals.append(place)
            chosen.music.append(Place(music, place.start))
        else:
            pool = pools.get(kind)
            chosen.vocals.append(pool.draw(rng, source) if pool else None)
            chosen.music.append(sources.accompaniments.draw(rng, source))
        chosen.seconds.append(sources.accompaniments.draw(rng, mixed) if joined else None)
    return chosen


def _choose_kinds(
    rng: np.random.Generator, sources: Sources, settings: MixSettings, rows: int
) -> np.ndarray:
    odds = np.zeros(5)
    odds[LABEL] = settings.labels * bool(sources.labels)
    odds[[PAIR, SONG_VOICE, VOICELESS]] = settings.pairs, settings.song_voices, settings.voiceless
    odds[VOICE] = max(0.0, 1 - odds.sum()) * (sources.voices is not None)
    odds[PAIR] *= bool(sources.pairs)
    odds[SONG_VOICE] *= sources.song_voices is not None
    return rng.choice(len(odds), size=rows, p=odds / odds.sum())
