from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from htmdsep.datasets.folders import Library, Song, Stem
from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import CachedStem
from htmdsep.training.holdout import (
    RECIPES,
    HeldOut,
    ValidationSet,
    hold_out,
    make_validation_set,
)

RATE = 1000


def song(title: str, kind: str = "songs") -> Song:
    return Song(title, *(Stem(f"{kind}/{title}/{part}", ()) for part in ("vocals", "music")))


def library(songs: int = 0, voices: int = 0, accompaniments: int = 0, labels: int = 0) -> Library:
    return Library(
        songs=[song(f"song {n}") for n in range(songs)],
        voices=[Stem(f"voices/v{n}.wav", ()) for n in range(voices)],
        accompaniments=[Stem(f"accompaniment/a{n}.wav", ()) for n in range(accompaniments)],
        labels=[song(f"song {n}", "labels") for n in range(labels)],
    )


def titles(found: Iterable[Song | Stem]) -> list[str]:
    return [one.title for one in found]


def write(path: Path, described: object) -> str:
    path.write_text(json.dumps(described))
    return str(path)


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    described = {
        "pairs": {"songs": ["song [01]"]},
        "mixed": {"voices": [["v0.*"], ["v[12].wav"]], "accompaniment": ["a3.wav"]},
    }
    rest, (pairs, mixed) = hold_out(library(3, 4, 4), write(tmp_path / "x.json", described))
    assert (titles(pairs.songs), pairs.level) == (["song 0", "song 1"], None)
    assert (*map(titles, mixed.voices), mixed.level) == (["v0.wav"], ["v1.wav", "v2.wav"], -5)
    assert (titles(rest.songs), titles(rest.voices)) == (["song 2"], ["v3.wav"])
    assert titles(rest.accompaniments) == ["a0.wav", "a1.wav", "a2.wav"]


def test_without_a_description_every_seventh_is_held_out() -> None:
    rest, (held,) = hold_out(library(15), None)
    assert titles(held.songs) == ["song 0", "song 7", "song 14"]
    assert len(rest.songs) == 12
    rest, (held,) = hold_out(library(0, 8, 3), None)
    assert (len(rest.voices), len(rest.accompaniments), held.level) == (6, 2, -5)


def test_too_little_to_hold_anything_out_is_an_error() -> None:
    with pytest.raises(HtmdsepError, match="too little to hold anything out"):
        hold_out(library(1, 1, 5), None)


def packaged_songs(name: str) -> list[str]:
    return list(json.loads((RECIPES / f"{name}.json").read_text())["validation"]["songs"])


@pytest.mark.parametrize("recipe", [None, "musdb-3-1", "musdb-86-14"])
def test_musdb_is_split_three_to_one_unless_told_otherwise(recipe: str | None) -> None:
    songs = [song(title) for title in [*packaged_songs(recipe or "musdb-3-1"), "X - Y"]]
    rest, (held,) = hold_out(Library(songs, is_musdb=True), recipe)
    assert list(held.songs) == songs[:-1] and rest.songs == songs[-1:]


def test_the_splits_of_musdb_are_recorded() -> None:
    larger, smaller = (packaged_songs(name) for name in ("musdb-3-1", "musdb-86-14"))
    assert (len(larger), len(smaller)) == (25, 14) and {*smaller} < {*larger}
    assert len({*larger}) == 25 and all(title.count(" - ") == 1 for title in larger)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"a": {"songs": ["song 0", "song 9"]}}, "lacks: song 9"),
        ({"a": {"songs": ["song 0", "nothing*"]}}, r"lacks: nothing\*"),
        ({"a": {"voices": [["v0.wav", "z*"]], "accompaniment": ["a*", "b"]}}, r"lacks: z\*, b"),
        ({"a": {"voices": [["v0.wav"]]}}, "'a' is empty"),
        ({"a": {"voices": [["v0.wav"], []], "accompaniment": ["a*"]}}, "'a' is empty"),
        ({"train": {"songs": ["song 0"]}}, "train begins the log's own columns"),
        ({"a": {"song": ["song 0"]}}, r"unknown keys \['song'\]"),
        (["song 0"], "must hold one JSON object"),
        ({"a": {"songs": "song 0"}}, "songs of a must be a list of names, not 'song 0'"),
        ({"a": {"songs": [1]}}, "songs of a must be a list of names"),
        ({"a": {"voices": ["v*"], "accompaniment": ["a*"]}}, "voices of a must be a list of lists"),
        ({"a": {"songs": ["song 0"], "windows": "many"}}, "windows of a must be a whole number"),
        ({"a": {"songs": ["song 0"], "seed": -1}}, "seed of a must be a whole number"),
        ({"a": {"songs": ["song 0"], "level": True}}, "level of a must be a number of dB or null"),
        ({"a": {"songs": ["song 0"], "level": math.nan}}, "level of a must be a number of dB"),
        ({"a": {"songs": ["song 0"], "level": 1e9}}, "level of a must be a number of dB"),
    ],
)
def test_a_description_that_does_not_fit_is_an_error(
    tmp_path: Path, described: object, message: str
) -> None:
    whole = library(2, 2, 2)
    with pytest.raises(HtmdsepError, match=message):
        hold_out(whole, write(tmp_path / "x.json", described))


def test_a_name_that_stands_twice_in_a_description_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": {"songs": ["song 0"]}, "a": {"songs": ["song 1"]}}', encoding="utf-8")
    with pytest.raises(HtmdsepError, match="a twice in one object"):
        hold_out(library(2), str(path))


def test_an_unknown_description_names_those_that_exist() -> None:
    with pytest.raises(HtmdsepError, match="musdb-3-1, musdb-86-14, open-corpus"):
        hold_out(library(), "nowhere.json")


def noise(name: str, seconds: int, silent: slice = slice(0)) -> CachedStem:
    samples = np.random.default_rng(len(name)).integers(-3000, 3000, seconds * RATE)
    samples[silent] = 0
    return CachedStem(name, samples.astype(np.int16)[:, None])


def held_song(level: float | None, silent: slice = slice(0)) -> ValidationSet:
    names = ("songs/a/vocals", "songs/a/music")
    cached = {
        name: noise(name, 45, where) for name, where in zip(names, (silent, slice(0)), strict=True)
    }
    held = HeldOut("x", (song("a"),), level=level)
    return make_validation_set(held, cached, RATE)


def test_vocals_lie_at_the_level_and_mixtures_within_full_scale() -> None:
    windows = held_song(-5.0)
    assert len(windows.windows) == 4
    for mixtures, vocals in windows.batches():
        music = mixtures - vocals
        ratio = 10 * torch.log10(vocals.square().mean(2) / music.square().mean(2))
        torch.testing.assert_close(ratio, torch.full_like(ratio, -5.0), atol=1e-3, rtol=0)
        assert mixtures.abs().max() <= 0.95 + 1e-6


def test_windows_without_singing_are_taken_only_as_they_are() -> None:
    silent = slice(9 * RATE, 21 * RATE)
    assert len(held_song(-5.0, silent).windows) == 3
    natural = held_song(None, silent)
    assert len(natural.windows) == 4
    (batch,) = natural.batches()
    assert (batch[1][1] == 0).all()


def test_a_set_without_windows_is_an_error() -> None:
    voices, music = ((Stem("a", ()),),), (Stem("m", ()),)
    cached = {name: noise(name, 20) for name in "am"}
    for silent in "am":  # left out of the cache
        left = {name: stem for name, stem in cached.items() if name != silent}
        with pytest.raises(HtmdsepError, match="'x' has no windows"):
            make_validation_set(HeldOut("x", (), voices, music, -5.0, 3, 0), left, RATE)
    with pytest.raises(HtmdsepError, match="'x' has no windows"):
        make_validation_set(HeldOut("x", (), voices, music, -5.0, 0, 0), cached, RATE)


def test_a_song_too_short_for_a_single_frame_has_no_windows_at_a_level() -> None:
    cached = {name: noise(name, 1) for name in ("songs/a/vocals", "songs/a/music")}
    cached = {name: CachedStem(name, one.samples[:40]) for name, one in cached.items()}
    with pytest.raises(HtmdsepError, match="'x' has no windows: its songs are shorter than 10 s"):
        make_validation_set(HeldOut("x", (song("a"),), level=-5.0), cached, RATE)
    assert len(make_validation_set(HeldOut("x", (song("a"),)), cached, RATE).windows) == 1


def test_mixed_windows_take_every_group_alike() -> None:
    cached = {name: noise(name, 20) for name in ("a", "bb", "ccc", "m")}
    voices, music = ((Stem("a", ()), Stem("bb", ())), (Stem("ccc", ()),)), (Stem("m", ()),)
    held = HeldOut("x", (), voices, music, -5.0, 12, 3)
    windows = make_validation_set(held, cached, RATE).windows
    names = [vocals.stem.name for vocals, _ in windows]
    assert sorted(names) == ["a"] * 3 + ["bb"] * 3 + ["ccc"] * 6
    assert windows == make_validation_set(held, cached, RATE).windows
    assert windows[::5] == make_validation_set(held, cached, RATE, 5).windows


def test_labels_are_held_out_as_they_are_and_may_be_silent(tmp_path: Path) -> None:
    recipe = write(tmp_path / "x.json", {"agreement": {"labels": ["song [02]"]}})
    rest, (held,) = hold_out(library(2, labels=3), recipe)
    assert (titles(held.songs), held.level) == (["song 0", "song 2"], None)
    assert (titles(rest.songs), titles(rest.labels)) == (["song 0", "song 1"], ["song 1"])
    known = held.songs[0].vocals, held.songs[0].accompaniment, held.songs[1].accompaniment
    samples = np.full((30 * RATE, 1), 99, np.int16)
    cached = {stem.name: CachedStem(stem.name, samples) for stem in known}
    windows = make_validation_set(held, cached, RATE).windows
    assert [vocals.stem.name for vocals, _ in windows] == ["labels/song 0/vocals"] * 3
