"""From a folder to what the trainer needs: sources to learn from, and validation windows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from htmdsep.datasets.folders import Library, check_lengths, find_library
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import NetworkConfig
from htmdsep.training.augment.draw import STEREO_MIXES, MixSettings
from htmdsep.training.batches import RandomMixes, SongSegments
from htmdsep.training.cache import Cached, cache_stems, known_pairs, known_stems
from htmdsep.training.holdout import HeldOut, ValidationSet, hold_out, make_validation_set
from htmdsep.training.places import Sources, make_pool
from htmdsep.training.processes import Batches, World
from htmdsep.training.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A library, split, and decoded as a network hears it."""

    training: Library
    held_out: list[HeldOut]
    cached: Cached
    config: NetworkConfig

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
        known = known_stems(self.training.stems(), self.cached)
        lengths = [(stem.name, len(stem.samples)) for stem in known]
        return hashlib.sha256(json.dumps([held, lengths]).encode()).hexdigest()

    def windows(self, stride: int = 1) -> list[ValidationSet]:
        """Choose the validation windows, of each set every `stride`-th."""
        known = self.cached, self.config.sample_rate, stride
        return [make_validation_set(one, *known) for one in self.held_out]

    def batches(self, recipe: Recipe, seed: int, world: World) -> Batches:
        """Return the batches that a recipe asks for."""
        sizes = recipe.segment_length, recipe.batch_size, seed, world.rank
        if recipe.random_mixes:
            settings = MixSettings() if self.config.input_channels == 1 else STEREO_MIXES
            return RandomMixes(self._sources(), settings, self.config.sample_rate, *sizes)
        if not self.training.songs:
            raise HtmdsepError(
                "the paper's protocol needs songs/<title> with aligned stems, and none is left to "
                "train on; use --preset ours for voices/ and accompaniment/"
            )
        return SongSegments(known_pairs(self.training.songs, self.cached), *sizes, world.size)

    def _sources(self) -> Sources:
        """Return what random mixing draws from: songs serve as pairs and as loose stems."""
        library, cached = self.training, self.cached
        pairs = known_pairs(library.songs, cached)
        voices = known_stems(library.voices, cached)
        music = known_stems(library.accompaniments, cached)
        accompaniments = make_pool([*music, *(accompaniment for _, accompaniment in pairs)])
        if not accompaniments.stems or not (pairs or voices):
            raise HtmdsepError("no voice or no accompaniment is left to train on; hold out less")
        return Sources(
            pairs=pairs,
            labels=known_pairs(library.labels, cached),
            song_voices=make_pool([vocals for vocals, _ in pairs]),
            voices=make_pool(voices),
            accompaniments=accompaniments,
        )


def prepare(
    folder: Path, cache: Path, held_out: str | None, config: NetworkConfig, *, progress: bool = True
) -> Prepared:
    """Find, split and decode a folder for a network; `held_out` is a description's name or file."""
    sample_rate, channels = config.sample_rate, config.input_channels
    library = find_library(folder)
    training, sets = hold_out(library, held_out)
    cached = cache_stems(library.stems(), cache, sample_rate, channels, progress=progress)
    for song in [*library.songs, *library.labels]:
        stems = known_stems([song.vocals, song.accompaniment], cached)
        lengths = [(stem.name, len(stem.samples) / sample_rate) for stem in stems]
        check_lengths(song.title, lengths)
    return Prepared(training, sets, cached, config)
