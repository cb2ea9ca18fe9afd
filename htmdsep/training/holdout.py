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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from htmdsep.datasets.folders import Library, Song, Stem, choose_names
from htmdsep.errors import HtmdsepError, explained
from htmdsep.metrics.silence import frame_powers
from htmdsep.training.cache import Cached, CachedStem, known_pairs, known_stems
from htmdsep.training.places import Place, active_place

DEFAULT_LEVEL = -5.0  # dB, of voices over accompaniment that are not of one song
LEVEL_LIMIT = 100.0  # dB either way: beyond it one of the two is not heard
EVERY = 7  # every seventh song is held out where nothing is said, or every seventh file
WINDOW_SECONDS = 10
SUNG_SHARE = 0.4  # of a window's 50 ms frames, those that count as sung
SUNG_POWER = 1e-4  # of the song's loudest frame, -40 dB
PEAK = 0.95  # that louder mixtures are brought down to
TOGETHER = 8  # windows read at once
RECIPES = Path(__file__).parent / "recipes"

T = TypeVar("T", Song, Stem)
Window = tuple[Place, Place]  # of vocals and accompaniment


# What a description may say of a set: what it must be, in words and as an example.
NAMES, COUNT = ("a list of names", [""]), ("a whole number, 0 or more", 0)
KEYS: dict[str, tuple[str, Any]] = {
    "songs": NAMES,
    "labels": NAMES,
    "voices": ("a list of lists of files", [[""]]),
    "accompaniment": NAMES,
    "windows": COUNT,
    "seed": COUNT,
    "level": ("a number of dB or null", 0.0),
}


@dataclass(frozen=True)
class HeldOut:
    """One validation set: songs as they are, or groups of voices over accompaniments."""

    name: str
    songs: tuple[Song, ...] = ()  # labels among them
    voices: tuple[tuple[Stem, ...], ...] = ()  # groups of equal weight
    accompaniments: tuple[Stem, ...] = ()
    level: float | None = None  # dB of the vocals over the accompaniment; None: as it is
    windows: int = 30  # of voices over accompaniments
    seed: int = 0


def hold_out(library: Library, recipe: str | None) -> tuple[Library, list[HeldOut]]:
    """Split a library into what to train on and validation sets, by a description's name or path.

    Without one MUSDB18 is split 3:1; of other folders every seventh song is held out, or where
    there are no songs every seventh voice and accompaniment. Raises HtmdsepError for what is no
    description, names what the library lacks, or leaves a set empty.
    """
    if recipe is None and library.is_musdb:
        recipe = "musdb-3-1"
    if recipe is None:
        sets = [_every_seventh(library)]
    else:
        described = _read_description(recipe)
        sets = [_one_set(library, name, said) for name, said in described.items()]
    songs = [song for one in sets for song in one.songs]
    stems = {stem for one in sets for group in (*one.voices, one.accompaniments) for stem in group}
    rest = Library(
        songs=[song for song in library.songs if song not in songs],
        voices=[stem for stem in library.voices if stem not in stems],
        accompaniments=[stem for stem in library.accompaniments if stem not in stems],
        labels=[song for song in library.labels if song not in songs],
        is_musdb=library.is_musdb,
    )
    return rest, sets


def _every_seventh(library: Library) -> HeldOut:
    if len(library.songs) >= 2:
        return HeldOut("validation", tuple(library.songs[::EVERY]))
    if len(library.voices) < 2 or len(library.accompaniments) < 2:
        raise HtmdsepError(
            "too little to hold anything out for validation: it takes two songs, or two voices "
            "and two accompaniments"
        )
    voices, music = (tuple(kind[::EVERY]) for kind in (library.voices, library.accompaniments))
    return HeldOut("validation", (), (voices,), music, DEFAULT_LEVEL)


def _read_description(recipe: str) -> dict[str, dict[str, Any]]:
    """Read what is said of every set; raise HtmdsepError where KEYS does not allow it."""
    packaged = sorted(path.stem for path in RECIPES.glob("*.json"))
    source = RECIPES / f"{recipe}.json" if recipe in packaged else Path(recipe)
    remedy = f"give a JSON file or one of {', '.join(packaged)}"
    told = f"cannot read the held-out description {recipe}"
    with explained(told, remedy, of=(OSError, ValueError)):
        text = source.read_text(encoding="utf-8-sig")
        described = json.loads(text, object_pairs_hook=_each_once)
    if not isinstance(described, dict) or not all(isinstance(v, dict) for v in described.values()):
        raise HtmdsepError(f"{recipe} must hold one JSON object, with an object a validation set")
    for name, said in described.items():
        if name == "train":
            raise HtmdsepError(f"{recipe}: train begins the log's own columns; rename that set")
        if unknown := sorted(said.keys() - KEYS.keys()):
            raise HtmdsepError(f"{recipe}: {name} has unknown keys {unknown}; known: {[*KEYS]}")
        for key, value in said.items():
            words, example = KEYS[key]
            if not _is_like(value, example):
                raise HtmdsepError(f"{recipe}: {key} of {name} must be {words}, not {value!r}")
    return described


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object; raise ValueError for a name that stands twice, as the first were lost."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} twice in one object")
    return dict(pairs)


def _is_like(value: Any, example: Any) -> bool:
    if isinstance(example, list):
        return isinstance(value, list) and all(_is_like(one, example[0]) for one in value)
    if isinstance(example, float):
        return value is None or (type(value) in (int, float) and abs(value) <= LEVEL_LIMIT)
    return type(value) is type(example) and value >= example


def _one_set(library: Library, name: str, said: dict[str, Any]) -> HeldOut:
    missing: list[str] = []
    songs = _choose(library.songs, said.get("songs", []), missing)
    songs += _choose(library.labels, said.get("labels", []), missing)
    voices = tuple(_choose(library.voices, group, missing) for group in said.get("voices", []))
    music = _choose(library.accompaniments, said.get("accompaniment", []), missing)
    if missing:
        raise HtmdsepError(
            f"the validation set {name!r} names what the folder lacks: {', '.join(missing)}; "
            "complete the folder or give another --held-out"
        )
    if not songs and not (music and voices and all(voices)):
        raise HtmdsepError(
            f"the validation set {name!r} is empty; name songs, or voices and accompaniment"
        )
    level = said.get("level")
    if level is None and not songs:
        level = DEFAULT_LEVEL
    counts = {key: said[key] for key in ("windows", "seed") if key in said}
    return HeldOut(name, songs, voices, music, level, **counts)


def _choose(found: Sequence[T], wanted: list[str], missing: list[str]) -> tuple[T, ...]:
    """Return what is wanted by its title, and add to `missing` what nothing is called."""
    chosen, lacking = choose_names((one.title for one in found), wanted)
    missing += lacking
    return tuple(one for one in found if one.title in chosen)


@dataclass(frozen=True)
class ValidationSet:
    """Windows of `length` samples; at a `level` in dB of vocals over accompaniment, or as is."""

    name: str
    windows: tuple[Window, ...]
    length: int
    level: float | None

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield mixtures and vocals, both (windows, channels, time), a few windows at a time."""
        for first in range(0, len(self.windows), TOGETHER):
            pairs = [self._read(window) for window in self.windows[first : first + TOGETHER]]
            mixtures, vocals = (np.stack(signals) for signals in zip(*pairs, strict=True))
            yield torch.from_numpy(mixtures), torch.from_numpy(vocals)

    def _read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        vocals, music = (stem.read(start, self.length) for stem, start in window)
        if self.level is not None:
            ratio = np.sqrt(np.mean(music**2) / max(float(np.mean(vocals**2)), 1e-12))
            vocals = vocals * np.float32(ratio * 10 ** (self.level / 20))
        mixture = vocals + music
        gain = np.float32(min(1.0, PEAK / max(float(np.abs(mixture).max()), 1e-9)))
        return mixture * gain, vocals * gain


def make_validation_set(
    held: HeldOut, cached: Cached, sample_rate: int, stride: int = 1
) -> ValidationSet:
    """Choose a set's windows, at a given level only sung ones; raise HtmdsepError without any.

    Of them every `stride`-th is taken.
    """
    length = WINDOW_SECONDS * sample_rate
    windows = []
    for vocals, music in known_pairs(held.songs, cached):
        starts: Iterable[int] = range(0, max(1, len(vocals.samples) - length + 1), length)
        if held.level is not None:
            starts = _sung_starts(vocals, length, sample_rate)
        windows += [(Place(vocals, start), Place(music, start)) for start in starts]
    windows += _mixed_windows(held, cached, length)
    if not windows:
        raise HtmdsepError(
            f"the validation set {held.name!r} has no windows: its songs are shorter than "
            f"{WINDOW_SECONDS} s or hardly sung, its files silent, or none are asked for; hold out "
            "others"
        )
    return ValidationSet(held.name, tuple(windows[::stride]), length, held.level)


def _sung_starts(vocals: CachedStem, length: int, sample_rate: int) -> list[int]:
    frame = sample_rate // 20
    powers = frame_powers(vocals.read(0, len(vocals.samples)).mean(axis=0), frame)
    sung = powers > powers.max(initial=0.0) * SUNG_POWER
    frames = length // frame
    firsts = range(0, len(sung) - frames + 1, frames)
    return [f * frame for f in firsts if sung[f : f + frames].mean() >= SUNG_SHARE]


def _mixed_windows(held: HeldOut, cached: Cached, length: int) -> list[Window]:
    """Take the groups of voices in turn, and each group's voices, over random accompaniments."""
    rng = np.random.default_rng(held.seed)
    groups = [group for one in held.voices if (group := known_stems(one, cached))]
    accompaniments = known_stems(held.accompaniments, cached)
    if not groups or not accompaniments:
        return []
    windows = []
    for number in range(held.windows):
        group = groups[number % len(groups)]
        voice = group[number // len(groups) % len(group)]
        music = accompaniments[rng.integers(len(accompaniments))]
        windows.append((active_place(rng, voice, length), active_place(rng, music, length)))
    return windows
