"""From a folder to what the trainer needs: sources to learn from, and validation windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htmdsep.datasets.folders import LENGTH_TOLERANCE_SECONDS, Library, Song, find_library
from htmdsep.errors import HtmdsepError
from htmdsep.training.augment.draw import STEREO_MIXES, MixSettings
from htmdsep.training.batches import RandomMixes, SongSegments
from htmdsep.training.cache import CachedStem, cache_stems
from htmdsep.training.holdout import HeldOut, ValidationSet, describe, hold_out, make_validation_set
from htmdsep.training.places import Sources, StemPair, make_pool
from htmdsep.training.processes import Batches, World
from htmdsep.training.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A decoded library, split."""

    training: Library
    held_out: list[HeldOut]
    cached: Mapping[str, CachedStem]
    sample_rate: int
    channels: int

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

    def batches(self, recipe: Recipe, seed: int, world: World) -> Batches:
        """Return the batches that a recipe asks for."""
        if recipe.random_mixes:
            return RandomMixes(
                self._sources(),
                MixSettings() if self.channels == 1 else STEREO_MIXES,
                self.sample_rate,
                recipe.segment_length,
                recipe.batch_size,
                seed,
                world.rank,
            )
        if not self.training.songs:
            raise HtmdsepError(
                "the paper's protocol needs songs/<title> with aligned stems, and none is left to "
                "train on; use --preset ours for voices/ and accompaniment/"
            )
        return SongSegments(
            self._pairs(self.training.songs),
            recipe.segment_length,
            recipe.batch_size,
            seed,
            world.rank,
            world.size,
        )

    def _pairs(self, songs: list[Song]) -> tuple[StemPair, ...]:
        names = ((song.vocals.name, song.accompaniment.name) for song in songs)
        return tuple(
            (self.cached[vocals], self.cached[music])
            for vocals, music in names
            if vocals in self.cached and music in self.cached  # labels may be silent
        )

    def _sources(self) -> Sources:
        """Return what random mixing draws from: songs serve as pairs and as loose stems."""
        pairs, labels = (
            self._pairs(songs) for songs in (self.training.songs, self.training.labels)
        )
        voices, music = (
            [self.cached[stem.name] for stem in stems if stem.name in self.cached]
            for stems in (self.training.voices, self.training.accompaniments)
        )
        accompaniments = make_pool([*music, *(accompaniment for _, accompaniment in pairs)])
        if accompaniments is None or not (pairs or voices):
            raise HtmdsepError("no voice or no accompaniment is left to train on; hold out less")
        song_voices = make_pool([vocals for vocals, _ in pairs])
        return Sources(pairs, labels, song_voices, make_pool(voices), accompaniments)


def prepare(
    folder: Path,
    cache: Path,
    held_out: str | None,
    sample_rate: int,
    *,
    channels: int = 1,
    progress: bool = True,
) -> Prepared:
    """Find, split and decode a folder to a number of channels.

    `held_out` names what is held out, or the file that describes it.

    Raises HtmdsepError for whatever is wrong with it.
    """
    library = find_library(folder)
    training, sets = hold_out(library, describe(library, held_out))
    cached = cache_stems(library.stems(), cache, sample_rate, channels=channels, progress=progress)
    for song in [*library.songs, *library.labels]:
        _check_lengths(song, cached, sample_rate)
    return Prepared(training, sets, cached, sample_rate, channels)


def _check_lengths(song: Song, cached: Mapping[str, CachedStem], sample_rate: int) -> None:
    lengths = [
        len(cached[stem.name].samples) / sample_rate
        for stem in (song.vocals, song.accompaniment)
        if stem.name in cached
    ]
    if max(lengths, default=0) - min(lengths, default=0) > LENGTH_TOLERANCE_SECONDS:
        raise HtmdsepError(
            f"{song.vocals.name} and its accompaniment are of different length "
            f"({lengths[0]:.2f} s, {lengths[1]:.2f} s); align them"
        )
