from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from htmdsep.datasets.folders import choose_names, find_library, find_test_songs
from htmdsep.errors import HtmdsepError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_plain_songs_come_as_stems_or_as_mixture_and_vocals(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "songs/a/vocals.opus",
        "songs/a/accompaniment.flac",
        "songs/b/mixture.mp3",
        "songs/b/vocals.wav",
        "voices/x.wav",
        "voices/notes.txt",
        "accompaniment/y.ogg",
    )
    library = find_library(tmp_path)
    assert [song.title for song in library.songs] == ["a", "b"]
    assert [term.factor for term in library.songs[0].accompaniment.terms] == [1]
    assert [(term.path.name, term.factor) for term in library.songs[1].accompaniment.terms] == [
        ("mixture.mp3", 1),
        ("vocals.wav", -1),
    ]
    assert [stem.name for stem in library.voices] == ["voices/x.wav"]
    assert [stem.name for stem in library.accompaniments] == ["accompaniment/y.ogg"]
    assert not library.is_musdb


def test_musdb_is_known_from_its_stem_files(tmp_path: Path) -> None:
    touch(tmp_path, "train/A - B.stem.mp4", "test/C - D.stem.mp4")
    library = find_library(tmp_path)
    (song,) = library.songs
    assert library.is_musdb
    assert song.title == "A - B"
    assert [term.stream for term in song.vocals.terms] == [4]
    assert [(term.stream, term.factor) for term in song.accompaniment.terms] == [(0, 1), (4, -1)]


def test_what_is_hidden_among_stem_files_is_no_song(tmp_path: Path) -> None:
    touch(tmp_path, "train/A - B.stem.mp4", "train/._A - B.stem.mp4", "test/C - D.stem.mp4")
    touch(tmp_path, "test/._C - D.stem.mp4")  # what macOS puts beside every file on foreign disks
    songs = find_library(tmp_path).songs + find_test_songs(tmp_path)
    assert [song.title for song in songs] == ["A - B", "C - D"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_pipes_are_passed_over_and_links_to_nothing_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "voices/a.wav", "accompaniment/b.wav", "songs/c/vocals.wav")
    os.mkfifo(tmp_path / "voices/pipe.wav")
    (tmp_path / "voices/to_pipe.wav").symlink_to("pipe.wav")
    (tmp_path / "voices/to_nothing.wav").symlink_to("absent.wav")  # its failure is worth telling
    os.mkfifo(tmp_path / "songs/c/mixture.wav")
    with pytest.raises(HtmdsepError, match="c has no mixture file"):
        find_library(tmp_path)
    touch(tmp_path, "songs/c/accompaniment.wav")
    voices = [stem.name for stem in find_library(tmp_path).voices]
    assert voices == ["voices/a.wav", "voices/to_nothing.wav"]


def test_musdb_hq_is_known_from_its_mixtures(tmp_path: Path) -> None:
    touch(tmp_path, "train/A - B/mixture.wav", "train/A - B/vocals.wav", "train/A - B/drums.wav")
    library = find_library(tmp_path)
    assert library.is_musdb
    assert [song.title for song in library.songs] == ["A - B"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no song found.*looked for train/.*songs/.*voices/"),
        (("music/a.wav",), "no song found"),
        (("voices/a.wav",), "no song found"),
        (("songs/a/vocals.wav",), "a has no mixture file"),
        (("songs/a/accompaniment.wav",), "a has no vocals file"),
        (("songs/a/vocals.wav", "songs/a/vocals.mp3"), "more than one vocals"),
        (("train/a/mixture.wav",), "a has no vocals file"),
        (
            ("train/a/mixture.wav", "train/a/vocals.wav", "train/b/vocals.wav"),
            "b has no mixture file",
        ),
    ],
)
def test_a_wrong_folder_says_what_is_missing(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(HtmdsepError, match=message):
        find_library(touch(tmp_path, *names))


def test_singers_folders_are_read_and_hidden_files_passed_over(tmp_path: Path) -> None:
    names = ("voices/a.wav", "voices/carla/1.wav", "voices/carla/live/2.wav")
    touch(tmp_path, *names, "accompaniment/b/c.flac", "songs/a/vocals.wav", "songs/a/mixture.wav")
    touch(tmp_path, "songs/.ipynb_checkpoints/x.wav", "voices/._a.wav", "voices/.cache/y.wav")
    library = find_library(tmp_path)
    assert [stem.name for stem in library.voices] == list(names)
    assert [stem.name for stem in library.accompaniments] == ["accompaniment/b/c.flac"]
    assert [song.title for song in library.songs] == ["a"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("wanted", "chosen", "missing"),
    [
        (["[a] b", "z", "y*"], ["[a] b"], ["z", "y*"]),  # a name before it is a pattern
        (["[a]"], ["a"], []),
        (["caf\u00e9"], ["caf\u00e9"], []),
        (["cafe\u0301", "?af\u00e9"], ["caf\u00e9"], []),  # composed here, decomposed there
        (["x*", "a"], ["a", "x1", "x2"], []),
    ],
)
def test_names_are_chosen_by_themselves_or_by_patterns(
    form: Literal["NFC", "NFD"], wanted: list[str], chosen: list[str], missing: list[str]
) -> None:
    names = [normalize(form, name) for name in ("[a] b", "a", "caf\u00e9", "x1", "x2")]
    found = {normalize(form, name) for name in chosen}
    assert choose_names(names, wanted) == (found, missing)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HtmdsepError, match="is not a folder"):
        find_library(tmp_path / "nothing")
