"""Which files are held out for validation, from a JSON description of glob patterns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htmdsep.errors import HtmdsepError
from htmdsep.training.layouts import Library, Song, Stem, matches

KEYS = {"songs", "voices", "accompaniment", "windows", "seed"}


@dataclass(frozen=True)
class HeldOut:
    """One validation set: songs as they are, or groups of voices over accompaniments."""

    name: str
    songs: tuple[Song, ...]
    voices: tuple[tuple[Stem, ...], ...]  # groups of equal weight
    accompaniments: tuple[Stem, ...]
    windows: int
    seed: int


def read_holdout(path: Path) -> dict[str, Any]:
    """Read a description; raise HtmdsepError where it is not one."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HtmdsepError(f"cannot read the held-out description {path}: {error}") from error
    if not isinstance(described, dict):
        raise HtmdsepError(f"{path} must hold one JSON object, a validation set a key")
    for name, patterns in described.items():
        if unknown := set(patterns) - KEYS:
            raise HtmdsepError(f"{path}: {name} has unknown keys {sorted(unknown)}; use {KEYS}")
    return described


def hold_out(library: Library, described: dict[str, Any]) -> tuple[Library, list[HeldOut]]:
    """Split a library into what to train on and the validation sets of a description."""
    sets = [_one_set(library, name, patterns) for name, patterns in described.items()]
    songs = {song.title for one in sets for song in one.songs}
    names = {stem.name for one in sets for group in one.voices for stem in group}
    names |= {stem.name for one in sets for stem in one.accompaniments}
    rest = Library(
        songs=[song for song in library.songs if song.title not in songs],
        test_songs=library.test_songs,
        voices=[stem for stem in library.voices if stem.name not in names],
        accompaniments=[stem for stem in library.accompaniments if stem.name not in names],
        is_musdb=library.is_musdb,
    )
    return rest, sets


def _one_set(library: Library, name: str, patterns: dict[str, Any]) -> HeldOut:
    titles = tuple(patterns.get("songs", ()))
    held = HeldOut(
        name=name,
        songs=tuple(song for song in library.songs if matches(song.title, titles)),
        voices=tuple(_stems(library.voices, tuple(group)) for group in patterns.get("voices", ())),
        accompaniments=_stems(library.accompaniments, tuple(patterns.get("accompaniment", ()))),
        windows=int(patterns.get("windows", 0)),
        seed=int(patterns.get("seed", 0)),
    )
    mixed = bool(held.voices) and all(held.voices) and bool(held.accompaniments)
    if not held.songs and not mixed:
        raise HtmdsepError(
            f"the validation set {name!r} matches nothing in the folder: {patterns}; "
            "correct its patterns"
        )
    return held


def _stems(stems: list[Stem], patterns: tuple[str, ...]) -> tuple[Stem, ...]:
    return tuple(stem for stem in stems if matches(stem.name.partition("/")[2], patterns))
