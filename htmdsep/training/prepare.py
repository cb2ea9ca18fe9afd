"""From a folder to what the trainer needs: sources to learn from, and validation windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htmdsep.errors import HtmdsepError
from htmdsep.folders import LENGTH_TOLERANCE_SECONDS, Library, Song, find_library
from htmdsep.training.cache import CachedStem, cache_stems
from htmdsep.training.excerpts import make_pool
from htmdsep.training.holdout import HeldOut, describe, hold_out
from htmdsep.training.loading import Batches
from htmdsep.training.mixing import RandomMixes, Sources
from htmdsep.training.segments import SongSegments
from htmdsep.training.settings import Preset
from htmdsep.training.shares import MixSettings
from htmdsep.training.windows import ValidationSet, make_validation_set
from htmdsep.training.world import World

Pair = tuple[CachedStem, CachedStem]  # vocals and accompaniment, aligned


@dataclass(frozen=True)
class Prepared:
    """A decoded library, split."""

    training: Library
    held_out: list[HeldOut]
    cached: Mapping[str, CachedStem]
    sample_rate: int

    def digest(self) -> str:
        """Hash what is held out and what is trained on, by names and lengths, wherever it lies."""
        held = [
            (
                one.name,
                [song.title for song in one.songs],
                [[stem.name for stem in group] for group in one.voices],
                [stem.name for stem in one.accompaniments],
                (one.level, one.windows, one.seed),
            )
            for one in self.held_out
        ]
        lengths = [
            (stem.name, len(self.cached[stem.name].samples))
            for stem in self.training.stems()
            if stem.name in self.cached
        ]
        return hashlib.sha256(json.dumps([held, lengths]).encode()).hexdigest()

    def windows(self) -> list[ValidationSet]:
        """Choose the validation windows."""
        return [make_validation_set(one, self.cached, self.sample_rate) for one in self.held_out]

    def batches(self, preset: Preset, seed: int, world: World) -> Batches:
        """Return the batches that a preset asks for."""
        if preset.random_mixes:
            return RandomMixes(
                self._sources(),
                MixSettings(),
                self.sample_rate,
                preset.segment_length,
                preset.batch_size,
                seed,
                world.rank,
            )
        if not self.training.songs:
            raise HtmdsepError(
                "the paper's protocol needs songs/<title> with aligned stems, and none is left to "
                "train on; use --preset ours for voices/ and accompaniment/"
            )
        return SongSegments(
            self._pairs(), preset.segment_length, preset.batch_size, seed, world.rank, world.size
        )

    def _pairs(self) -> tuple[Pair, ...]:
        return tuple(
            (self.cached[song.vocals.name], self.cached[song.accompaniment.name])
            for song in self.training.songs
        )

    def _sources(self) -> Sources:
        """Return what random mixing draws from: songs serve as pairs and as loose stems."""
        pairs = self._pairs()
        voices, music = (
            [self.cached[stem.name] for stem in stems if stem.name in self.cached]
            for stems in (self.training.voices, self.training.accompaniments)
        )
        accompaniments = make_pool([*music, *(accompaniment for _, accompaniment in pairs)])
        if accompaniments is None or not (pairs or voices):
            raise HtmdsepError("no voice or no accompaniment is left to train on; hold out less")
        song_voices = make_pool([vocals for vocals, _ in pairs])
        return Sources(pairs, song_voices, make_pool(voices), accompaniments)


def prepare(
    folder: Path, cache: Path, recipe: str | None, sample_rate: int, *, progress: bool = True
) -> Prepared:
    """Find, split and decode a folder; `recipe` names or holds what is held out.

    Raises HtmdsepError for whatever is wrong with it.
    """
    library = find_library(folder)
    training, held_out = hold_out(library, describe(library, recipe))
    cached = cache_stems(library.stems(), cache, sample_rate, progress=progress)
    for song in library.songs:
        _check_lengths(song, cached, sample_rate)
    return Prepared(training, held_out, cached, sample_rate)


def _check_lengths(song: Song, cached: Mapping[str, CachedStem], sample_rate: int) -> None:
    vocals, music = (
        len(cached[stem.name].samples) / sample_rate for stem in (song.vocals, song.accompaniment)
    )
    if abs(vocals - music) > LENGTH_TOLERANCE_SECONDS:
        raise HtmdsepError(
            f"songs/{song.title}: stems of different length (vocals {vocals:.2f} s, "
            f"accompaniment {music:.2f} s); align them"
        )
