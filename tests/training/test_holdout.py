from __future__ import annotations

import json
from pathlib import Path

import pytest

from htmdsep.errors import HtmdsepError
from htmdsep.folders import Library, Song, Stem
from htmdsep.training.holdout import describe, hold_out, packaged_recipes


def library(songs: int = 0, voices: int = 0, accompaniments: int = 0) -> Library:
    return Library(
        songs=[
            Song(f"song {n}", Stem(f"songs/song {n}/vocals", ()), Stem(f"songs/song {n}/acc", ()))
            for n in range(songs)
        ],
        voices=[Stem(f"voices/v{n}.wav", ()) for n in range(voices)],
        accompaniments=[Stem(f"accompaniment/a{n}.wav", ()) for n in range(accompaniments)],
    )


def write(path: Path, described: object) -> str:
    path.write_text(json.dumps(described))
    return str(path)


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "x.json",
        {
            "pairs": {"songs": ["song [01]"]},
            "mixed": {"voices": [["v0.*"], ["v[12].wav"]], "accompaniment": ["a3.wav"]},
        },
    )
    whole = library(3, 4, 4)
    rest, (pairs, mixed) = hold_out(whole, describe(whole, recipe))
    assert [song.title for song in pairs.songs] == ["song 0", "song 1"]
    assert pairs.level is None
    assert [len(group) for group in mixed.voices] == [1, 2]
    assert mixed.level == -5
    assert [song.title for song in rest.songs] == ["song 2"]
    assert [stem.name for stem in rest.voices] == ["voices/v3.wav"]
    assert [stem.name for stem in rest.accompaniments] == [
        f"accompaniment/a{n}.wav" for n in range(3)
    ]


def test_without_a_description_every_seventh_is_held_out() -> None:
    whole = library(15)
    rest, (held,) = hold_out(whole, describe(whole, None))
    assert [song.title for song in held.songs] == ["song 0", "song 7", "song 14"]
    assert len(rest.songs) == 12
    loose = library(0, 8, 3)
    rest, (held,) = hold_out(loose, describe(loose, None))
    assert len(rest.voices) == 6
    assert len(rest.accompaniments) == 2


def test_brackets_in_names_are_no_patterns_where_nothing_is_said() -> None:
    whole = library(2)
    whole.songs[0] = Song("Aria [live]", Stem("v", ()), Stem("a", ()))
    rest, (held,) = hold_out(whole, describe(whole, None))
    assert [song.title for song in held.songs] == ["Aria [live]"]
    assert [song.title for song in rest.songs] == ["song 1"]


def test_too_little_to_hold_anything_out_is_an_error() -> None:
    with pytest.raises(HtmdsepError, match="too little to hold anything out"):
        describe(library(1, 1, 5), None)


@pytest.mark.parametrize(("recipe", "count"), [("musdb-3-1", 25), ("musdb-86-14", 14)])
def test_the_splits_of_musdb_are_recorded(recipe: str, count: int) -> None:
    (described,) = describe(library(), recipe).values()
    titles = described["songs"]
    assert len(set(titles)) == count
    assert all(title.count(" - ") == 1 for title in titles)
    whole = library()
    whole.songs = [Song(title, Stem("v", ()), Stem("a", ())) for title in [*titles, "X - Y"]]
    rest, (held,) = hold_out(whole, describe(whole, recipe))
    assert len(held.songs) == count
    assert [song.title for song in rest.songs] == ["X - Y"]


def test_musdb_is_split_three_to_one_unless_told_otherwise() -> None:
    whole = library()
    whole.is_musdb = True
    assert describe(whole, None) == describe(whole, "musdb-3-1")
    smaller = describe(whole, "musdb-86-14")["validation"]["songs"]
    assert {*smaller} < {*describe(whole, None)["validation"]["songs"]}


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"a": {"songs": ["song 0", "song 9"]}}, "lacks: song 9"),
        ({"a": {"songs": ["nothing*"]}}, "'a' matches nothing"),
        ({"a": {"voices": [["v0.wav"], ["z*"]], "accompaniment": ["a*"]}}, "matches nothing"),
        ({"a": {"song": ["song 0"]}}, r"unknown keys \['song'\]"),
        (["song 0"], "must hold one JSON object"),
        ({"a": {"songs": "song 0"}}, "songs of a must be a list of titles"),
        ({"a": {"voices": ["v*"], "accompaniment": ["a*"]}}, "voices of a must be a list of lists"),
        ({"a": {"songs": ["song 0"], "windows": "many"}}, "windows of a must be a number"),
    ],
)
def test_a_description_that_does_not_fit_is_an_error(
    tmp_path: Path, described: object, message: str
) -> None:
    whole = library(2, 2, 2)
    with pytest.raises(HtmdsepError, match=message):
        hold_out(whole, describe(whole, write(tmp_path / "x.json", described)))


def test_an_unknown_description_names_those_that_exist() -> None:
    with pytest.raises(HtmdsepError, match="musdb-3-1, musdb-86-14, open-corpus"):
        describe(library(), "nowhere.json")
    assert "open-corpus" in packaged_recipes()
