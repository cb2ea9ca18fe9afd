"""From a folder to what the trainer needs: sources to mix, and validation windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import CachedStem, cache_stems
from htmdsep.training.excerpts import make_pool
from htmdsep.training.holdout import HeldOut, hold_out, read_holdout
from htmdsep.training.layouts import Library, find_library
from htmdsep.training.mixing import Sources
from htmdsep.training.validation import ValidationSet, make_validation_set


@dataclass(frozen=True)
class Prepared:
    """A decoded library, split."""

    training: Library
    held_out: list[HeldOut]
    cached: dict[str, CachedStem]

    def sources(self) -> Sources:
        """Return what random mixing draws from."""
        songs, cached = self.training.songs, self.cached
        voices = [cached[stem.name] for stem in self.training.voices if stem.name in cached]
        music = [cached[stem.name] for stem in self.training.accompaniments if stem.name in cached]
        music += [cached[song.accompaniment.name] for song in songs]
        if not music:
            raise HtmdsepError("nothing is left to train on; hold out less")
        return Sources(
            pairs=tuple(
                (cached[song.vocals.name], cached[song.accompaniment.name]) for song in songs
            ),
            song_voices=make_pool([cached[song.vocals.name] for song in songs]) if songs else None,
            voices=make_pool(voices) if voices else None,
            accompaniments=make_pool(music),
        )

    def windows(self, sample_rate: int) -> list[ValidationSet]:
        """Cut the validation windows."""
        return [make_validation_set(one, self.cached, sample_rate) for one in self.held_out]


def prepare(folder: Path, cache: Path, held_out: Path, sample_rate: int) -> Prepared:
    """Find, split and decode a folder."""
    library = find_library(folder)
    training, sets = hold_out(library, read_holdout(held_out))
    return Prepared(training, sets, cache_stems(library.stems(), cache, sample_rate))
