"""Validation: which files are held out, by a JSON description, and the windows chosen from them.

    {"<set>": {"songs": ["<title>", ...], "level": -5}}
    {"<set>": {"voices": [["<file>", ...], ...], "accompaniment": ["<file>", ...],
               "windows": 60, "seed": 1, "level": -5}}
    {"<set>": {"labels": ["<title>", ...]}}

The last is agreement with what other weights made of songs without stems. Titles and files are
names, or glob patterns where there is no such name. `level` is the vocals' level over the
accompaniment in dB; songs may go without, and then keep theirs. Each inner list of voices gets as
many windows as any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from htmdsep.datasets.folders import Library, Song, Stem, choose_names
from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import UNIT, CachedStem, random_active_start
from htmdsep.training.places import Place

DEFAULT_LEVEL = -5.0  # dB, of a library without songs
EVERY = 7  # every seventh song is held out where nothing is said, or every seventh file
WINDOW_SECONDS = 10
SUNG_SHARE = 0.4  # of a window's 50 ms frames within 40 dB of the song's loudest
PEAK = 0.95  # that louder mixtures are brought down to
TOGETHER = 8  # windows read at once
RECIPES = Path(__file__).parent / "recipes"

T = TypeVar("T", Song, Stem)


@dataclass(frozen=True)
class Description:
    """What is held out for one validation set, as its JSON object says."""

    songs: list[str] = field(default_factory=list)
    voices: list[list[str]] = field(default_factory=list)
    accompaniment: list[str] = field(default_factory=list)
    windows: int = 30
    seed: int = 0
    level: float | None = None
    labels: list[str] = field(default_factory=list)


# What a field must be, by its type in Description: in words, and as an example.
KINDS: dict[str, tuple[str, Any]] = {
    "list[str]": ("a list of names", [""]),
    "list[list[str]]": ("a list of lists of files", [[""]]),
    "int": ("a whole number, 0 or more", 0),
    "float | None": ("a number of dB or null", 0.0),
}


@dataclass(frozen=True)
class HeldOut:
    """One validation set: songs as they are, or groups of voices over accompaniments."""

    name: str
    songs: tuple[Song, ...]  # labels among them
    voices: tuple[tuple[Stem, ...], ...]  # groups of equal weight
    accompaniments: tuple[Stem, ...]
    level: float | None  # dB of the vocals over the accompaniment; None: as it is
    windows: int
    seed: int


def packaged_recipes() -> list[str]:
    """Return the names of the descriptions that come with htmdsep."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


def describe(library: Library, recipe: str | None) -> dict[str, Description]:
    """Read a description by its packaged name or path; raise HtmdsepError where it is none.

    Without one MUSDB18 is split 3:1; of other folders every seventh song is held out, or where
    there are no songs every seventh voice and accompaniment.
    """
    if recipe is None and not library.is_musdb:
        return {"validation": _default_description(library)}
    recipe = recipe or "musdb-3-1"
    packaged = recipe in packaged_recipes()
    source = RECIPES / f"{recipe}.json" if packaged else Path(recipe)
    try:
        described = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        known = ", ".join(packaged_recipes())
        raise HtmdsepError(
            f"cannot read the held-out description {recipe}: {error}; give a JSON file or one of "
            f"{known}"
        ) from error
    if not isinstance(described, dict) or not all(isinstance(v, dict) for v in described.values()):
        raise HtmdsepError(f"{recipe} must hold one JSON object, with an object a validation set")
    return {name: _description(recipe, name, said) for name, said in described.items()}


def _description(recipe: str, name: str, said: dict[str, Any]) -> Description:
    kinds = {one.name: str(one.type) for one in fields(Description)}
    if unknown := sorted(said.keys() - kinds.keys()):
        raise HtmdsepError(f"{recipe}: {name} has unknown keys {unknown}; known: {sorted(kinds)}")
    for key, value in said.items():
        words, example = KINDS[kinds[key]]
        if not _is_like(value, example):
            raise HtmdsepError(f"{recipe}: {key} of {name} must be {words}, not {value!r}")
    return Description(**said)


def _is_like(value: Any, example: Any) -> bool:
    if isinstance(example, list):
        return isinstance(value, list) and all(_is_like(one, example[0]) for one in value)
    if isinstance(example, float):
        return value is None or type(value) in (int, float)
    return type(value) is type(example) and value >= example


def _default_description(library: Library) -> Description:
    if len(library.songs) >= 2:
        return Description(songs=[song.title for song in library.songs[::EVERY]])
    if len(library.voices) < 2 or len(library.accompaniments) < 2:
        raise HtmdsepError(
            "too little to hold anything out for validation: it takes two songs, or two voices "
            "and two accompaniments"
        )
    return Description(
        voices=[[_file_name(stem) for stem in library.voices[::EVERY]]],
        accompaniment=[_file_name(stem) for stem in library.accompaniments[::EVERY]],
    )


def hold_out(
    library: Library, described: Mapping[str, Description]
) -> tuple[Library, list[HeldOut]]:
    """Split a library into what to train on and validation sets, of which none may be empty."""
    sets = [_one_set(library, name, said) for name, said in described.items()]
    songs = [song for one in sets for song in one.songs]
    names = {stem.name for one in sets for group in one.voices for stem in group}
    names |= {stem.name for one in sets for stem in one.accompaniments}
    rest = Library(
        songs=[song for song in library.songs if song not in songs],
        voices=[stem for stem in library.voices if stem.name not in names],
        accompaniments=[stem for stem in library.accompaniments if stem.name not in names],
        labels=[song for song in library.labels if song not in songs],
        is_musdb=library.is_musdb,
    )
    return rest, sets


def _one_set(library: Library, name: str, said: Description) -> HeldOut:
    missing: list[str] = []
    songs = _choose(library.songs, _title, said.songs, missing)
    songs += _choose(library.labels, _title, said.labels, missing)
    voices = tuple(_choose(library.voices, _file_name, group, missing) for group in said.voices)
    music = _choose(library.accompaniments, _file_name, said.accompaniment, missing)
    if missing:
        raise HtmdsepError(
            f"the validation set {name!r} names what the folder lacks: {', '.join(missing)}; "
            "complete the folder or give another --held-out"
        )
    if not songs and not (music and voices and all(voices)):
        raise HtmdsepError(
            f"the validation set {name!r} is empty; name songs, or voices and accompaniment"
        )
    level = DEFAULT_LEVEL if said.level is None and not songs else said.level
    return HeldOut(name, songs, voices, music, level, said.windows, said.seed)


def _choose(
    found: Sequence[T], name: Callable[[T], str], wanted: list[str], missing: list[str]
) -> tuple[T, ...]:
    chosen, lacking = choose_names(map(name, found), wanted)
    missing += lacking
    return tuple(one for one in found if name(one) in chosen)


def _title(song: Song) -> str:
    return song.title


def _file_name(stem: Stem) -> str:
    return stem.name.partition("/")[2]


class Window(NamedTuple):
    """Where vocals and accompaniment are read."""

    vocals: Place
    accompaniment: Place


@dataclass(frozen=True)
class ValidationSet:
    """Windows of `length` samples; at a `level` in dB of vocals over accompaniment, or as is."""

    name: str
    windows: tuple[Window, ...]
    length: int
    level: float | None

    def every(self, stride: int) -> ValidationSet:
        """Return every `stride`-th window."""
        return replace(self, windows=self.windows[::stride])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield mixtures and vocals, both (windows, channels, time), a few windows at a time."""
        for first in range(0, len(self.windows), TOGETHER):
            pairs = [self._read(window) for window in self.windows[first : first + TOGETHER]]
            mixtures, vocals = (np.stack(signals) for signals in zip(*pairs, strict=True))
            yield torch.from_numpy(mixtures), torch.from_numpy(vocals)

    def _read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        vocals, music = (
            np.float32(UNIT) * stem.read_integers(start, self.length).T for stem, start in window
        )
        if self.level is not None:
            ratio = np.sqrt(np.mean(music**2) / max(float(np.mean(vocals**2)), 1e-12))
            vocals = vocals * np.float32(ratio * 10 ** (self.level / 20))
        mixture = vocals + music
        gain = np.float32(min(1.0, PEAK / max(float(np.abs(mixture).max()), 1e-9)))
        return mixture * gain, vocals * gain


def make_validation_set(
    held: HeldOut, cached: Mapping[str, CachedStem], sample_rate: int
) -> ValidationSet:
    """Choose a set's windows, at a given level only sung ones; raise HtmdsepError without any."""
    length = WINDOW_SECONDS * sample_rate
    windows = []
    for song in held.songs:
        if song.vocals.name not in cached or song.accompaniment.name not in cached:
            continue  # a label that is silent
        vocals, music = cached[song.vocals.name], cached[song.accompaniment.name]
        starts: Iterable[int] = range(0, max(1, len(vocals.samples) - length + 1), length)
        if held.level is not None:
            starts = _sung_starts(vocals, length, sample_rate)
        windows += [Window(Place(vocals, start), Place(music, start)) for start in starts]
    windows += _mixed_windows(held, cached, length)
    if not windows:
        raise HtmdsepError(
            f"the validation set {held.name!r} has no windows: its songs are shorter than "
            f"{WINDOW_SECONDS} s or hardly sung, its files silent, or none are asked for; hold out "
            "others"
        )
    return ValidationSet(held.name, tuple(windows), length, held.level)


def _sung_starts(vocals: CachedStem, length: int, sample_rate: int) -> list[int]:
    frame = sample_rate // 20
    whole = vocals.read(0, len(vocals.samples) // frame * frame).reshape(-1, frame)
    levels = np.sqrt(np.mean(whole**2, axis=1))
    sung = levels > levels.max() * 0.01
    frames = length // frame
    firsts = range(0, len(sung) - frames + 1, frames)
    return [f * frame for f in firsts if sung[f : f + frames].mean() >= SUNG_SHARE]


def _mixed_windows(held: HeldOut, cached: Mapping[str, CachedStem], length: int) -> list[Window]:
    """Take the groups of voices in turn, and each group's voices, over random accompaniments."""
    rng = np.random.default_rng(held.seed)
    groups = [[cached[stem.name] for stem in group if stem.name in cached] for group in held.voices]
    groups = [group for group in groups if group]  # without files that are silent
    accompaniments = [cached[stem.name] for stem in held.accompaniments if stem.name in cached]
    if not groups or not accompaniments:
        return []
    windows = []
    for number in range(held.windows):
        group = groups[number % len(groups)]
        voice = group[number // len(groups) % len(group)]
        music = accompaniments[rng.integers(len(accompaniments))]
        places = [Place(stem, random_active_start(rng, stem, length)) for stem in (voice, music)]
        windows.append(Window(*places))
    return windows
