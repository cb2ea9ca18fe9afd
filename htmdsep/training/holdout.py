"""Which files are held out for validation, from a JSON description of glob patterns.

    {"<set>": {"songs": ["<title>", ...], "level": -5}}
    {"<set>": {"voices": [["<file>", ...], ...], "accompaniment": ["<file>", ...],
               "windows": 60, "seed": 1, "level": -5}}

`level` is the vocals' level over the accompaniment in dB; songs may go without, and then keep
theirs. Each inner list of voices gets as many windows as any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from glob import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from htmdsep.errors import HtmdsepError
from htmdsep.folders import Library, Song, Stem, matches

DEFAULT_LEVEL = -5.0  # dB, of a library without songs
EVERY = 7  # every seventh song is held out where nothing is said, or every seventh file
DEFAULT_WINDOWS = 30


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_groups(value: Any) -> bool:
    return isinstance(value, list) and all(map(_are_names, value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _is_level(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


# What a set may say, whether a value fits, and what it must be.
KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "songs": (_are_names, "a list of titles"),
    "voices": (_are_groups, "a list of lists of files"),
    "accompaniment": (_are_names, "a list of files"),
    "windows": (_is_whole, "a number"),
    "seed": (_is_whole, "a number"),
    "level": (_is_level, "a number of dB or null"),
}
Description = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class HeldOut:
    """One validation set: songs as they are, or groups of voices over accompaniments."""

    name: str
    songs: tuple[Song, ...]
    voices: tuple[tuple[Stem, ...], ...]  # groups of equal weight
    accompaniments: tuple[Stem, ...]
    level: float | None  # dB of the vocals over the accompaniment; None: as it is
    windows: int
    seed: int


def packaged_recipes() -> list[str]:
    """Return the names of the descriptions that come with htmdsep."""
    names = (entry.name for entry in files("htmdsep.training").joinpath("recipes").iterdir())
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def describe(library: Library, recipe: str | None) -> Description:
    """Read a description by its packaged name or path; without one, choose by the library.

    MUSDB18 is split 3:1; of other folders every seventh song is held out, or where there are no
    songs every seventh voice and accompaniment. Raises HtmdsepError where a file is not a
    description.
    """
    if recipe is None and not library.is_musdb:
        return _default_description(library)
    recipe = recipe or "musdb-3-1"
    packaged = files("htmdsep.training").joinpath("recipes", f"{recipe}.json")
    source = packaged if recipe in packaged_recipes() else Path(recipe)
    try:
        described = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise HtmdsepError(
            f"cannot read the held-out description {recipe}: {error}; give a JSON file or one of "
            f"{', '.join(packaged_recipes())}"
        ) from error
    if not isinstance(described, dict) or not all(isinstance(v, dict) for v in described.values()):
        raise HtmdsepError(f"{recipe} must hold one JSON object, with an object a validation set")
    for name, patterns in described.items():
        if unknown := sorted(patterns.keys() - KEYS.keys()):
            raise HtmdsepError(
                f"{recipe}: {name} has unknown keys {unknown}; known: {sorted(KEYS)}"
            )
        for key, value in patterns.items():
            fits, kind = KEYS[key]
            if not fits(value):
                raise HtmdsepError(f"{recipe}: {key} of {name} must be {kind}, not {value!r}")
    return described


def _default_description(library: Library) -> Description:
    if len(library.songs) >= 2:
        return {"validation": {"songs": [escape(song.title) for song in library.songs[::EVERY]]}}
    if len(library.voices) < 2 or len(library.accompaniments) < 2:
        raise HtmdsepError(
            "too little to hold anything out for validation: it takes two songs, or two voices "
            "and two accompaniments"
        )
    return {
        "validation": {
            "voices": [[escape(_file_name(stem)) for stem in library.voices[::EVERY]]],
            "accompaniment": [escape(_file_name(stem)) for stem in library.accompaniments[::EVERY]],
            "windows": DEFAULT_WINDOWS,
        }
    }


def hold_out(library: Library, described: Description) -> tuple[Library, list[HeldOut]]:
    """Split a library into what to train on and the validation sets of a description.

    Raises HtmdsepError for a set, or a song named without a wildcard, that is not there.
    """
    sets = [_one_set(library, name, patterns) for name, patterns in described.items()]
    titles = {song.title for one in sets for song in one.songs}
    names = {stem.name for one in sets for group in one.voices for stem in group}
    names |= {stem.name for one in sets for stem in one.accompaniments}
    rest = Library(
        songs=[song for song in library.songs if song.title not in titles],
        voices=[stem for stem in library.voices if stem.name not in names],
        accompaniments=[stem for stem in library.accompaniments if stem.name not in names],
        labels=library.labels,
        is_musdb=library.is_musdb,
    )
    return rest, sets


def _one_set(library: Library, name: str, patterns: dict[str, Any]) -> HeldOut:
    titles = tuple(patterns.get("songs", ()))
    level = patterns.get("level")
    held = HeldOut(
        name=name,
        songs=tuple(song for song in library.songs if matches(song.title, titles)),
        voices=tuple(_stems(library.voices, tuple(group)) for group in patterns.get("voices", ())),
        accompaniments=_stems(library.accompaniments, tuple(patterns.get("accompaniment", ()))),
        level=DEFAULT_LEVEL if level is None and not titles else level,
        windows=int(patterns.get("windows", DEFAULT_WINDOWS)),
        seed=int(patterns.get("seed", 0)),
    )
    found = {song.title for song in held.songs}
    missing = [title for title in titles if not set("*?[") & set(title) and title not in found]
    if missing:
        raise HtmdsepError(
            f"the validation set {name!r} names songs that the folder lacks: {', '.join(missing)}; "
            "complete the folder or give another --held-out"
        )
    mixed = bool(held.voices) and all(held.voices) and bool(held.accompaniments)
    if not held.songs and not mixed:
        raise HtmdsepError(
            f"the validation set {name!r} matches nothing in the folder; correct its patterns"
        )
    return held


def _stems(stems: list[Stem], patterns: tuple[str, ...]) -> tuple[Stem, ...]:
    return tuple(stem for stem in stems if matches(_file_name(stem), patterns))


def _file_name(stem: Stem) -> str:
    return stem.name.partition("/")[2]
