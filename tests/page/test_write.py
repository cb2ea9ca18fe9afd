"""The files of a page: figures, what can be compared and what cannot, what is made anew."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile

from htmdsep.errors import HtmdsepError
from htmdsep.page.measure import measure_stems
from htmdsep.page.songs import ListedSong, find_songs
from htmdsep.page.write import BEGIN, END, FOLDER, PAGE, write_page
from tests.page.stems import RATE, write_pair, write_sum


def listed(out: Path) -> list[dict[str, Any]]:
    text = (out / FOLDER / "songs.js").read_text()
    found: list[dict[str, Any]] = json.loads(text.removeprefix("const SONGS = ").rstrip(";\n"))
    return found


def song_file(out: Path) -> dict[str, Any]:
    (row,) = listed(out)
    text = (out / FOLDER / f"{row['id']}.js").read_text()
    found: dict[str, Any] = json.loads(text.removeprefix(BEGIN).removesuffix(END))
    return found


def come_from(monkeypatch: pytest.MonkeyPatch, original: Path | None) -> None:
    """Let every song have an original, as a manifest would tell."""

    def songs(out: Path) -> list[ListedSong]:
        return [replace(song, original=original) for song in find_songs(out)]

    monkeypatch.setattr("htmdsep.page.write.find_songs", songs)


def test_figures_are_those_of_the_stems(tmp_path: Path) -> None:
    write_pair(tmp_path / "album" / "song")
    assert [error for _, error in write_page(tmp_path)] == [None]
    (row,) = listed(tmp_path)
    assert (row["folder"], row["name"], row["seconds"]) == ("album", "song", 4.0)
    assert row["share"] == pytest.approx(0.25, abs=0.02)
    assert row["levels"]["vocals"] == pytest.approx(-9.03 - 6.02, abs=0.02)
    assert row["levels"]["accompaniment"] == pytest.approx(-15.05, abs=0.02)
    assert row["levels"]["mixture"] == pytest.approx(-15.05 + 3.01, abs=0.02)
    found = song_file(tmp_path)
    assert found["files"] == {
        "vocals": "album/song/vocals.wav",
        "accompaniment": "album/song/accompaniment.wav",
    }
    peaks, _ = np.frombuffer(base64.b64decode(found["waves"]["vocals"]), np.uint8).reshape(2, -1)
    times = (np.arange(len(peaks)) + 0.5) * found["column_seconds"]
    sung = peaks[(times > 1.1) & (times < 1.9)]
    np.testing.assert_allclose(sung, 255 * 0.5 / 0.75, atol=6)
    assert not peaks[(times < 0.9) | (times > 2.1)].any()
    assert (tmp_path / FOLDER / f"{found['id']}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("gain", [1.0, 0.5, 1.2])
def test_the_original_is_compared_at_its_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    out = tmp_path / "out"
    original = write_sum(write_pair(out / "song"), tmp_path / "in #1?" / "song.wav", gain)
    come_from(monkeypatch, original)
    list(write_page(out))
    found = song_file(out)
    assert found["gain_db"] == pytest.approx(-20 * np.log10(gain), abs=0.02)
    assert found["files"]["mixture"] == "../in%20%231%3F/song.wav"


def test_why_nobody_can_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, original = tmp_path / "out", tmp_path / "song.wav"
    write_pair(out / "song")
    reasons = []
    for kind in ("none", "gone", "excerpt"):
        if kind == "excerpt":
            soundfile.write(original, np.ones(9 * RATE) * 0.1, RATE)
        come_from(monkeypatch, None if kind == "none" else original)
        list(write_page(out))
        found = song_file(out)
        assert found["gain_db"] is None and "mixture" not in found["files"]
        reasons.append(found["lack"])
    assert reasons[0] == "there is no original to compare the sum with"
    assert "no such file" in reasons[1] and "excerpt of the original (9.0 s)" in reasons[2]


def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path / "one")
    write_pair(tmp_path / "two")
    read = []

    def measured(paths: dict[str, Path], *rest: Any) -> dict[str, Any]:
        read.append(paths["vocals"].parent.name)
        return measure_stems(paths, *rest)

    monkeypatch.setattr("htmdsep.page.measure.measure_stems", measured)
    list(write_page(tmp_path))
    first = listed(tmp_path)
    list(write_page(tmp_path))
    assert read == ["one", "two"] and listed(tmp_path) == first
    write_pair(tmp_path / "two", 3.0)
    (tmp_path / FOLDER / f"{first[0]['id']}.js").write_text("show({")
    list(write_page(tmp_path))
    assert read == ["one", "two"] * 2
    assert [row["seconds"] for row in listed(tmp_path)] == [4.0, 3.0]


def test_stems_that_cannot_be_read_are_told_and_the_rest_is_there(tmp_path: Path) -> None:
    write_pair(tmp_path / "good")
    write_pair(tmp_path / "torn")
    (tmp_path / "torn" / "vocals.wav").write_bytes(b"no audio")
    write_pair(tmp_path / "odd")
    soundfile.write(tmp_path / "odd" / "vocals.wav", np.zeros(100), RATE)
    errors = {song.name: error for song, error in write_page(tmp_path)}
    assert errors["good"] is None
    assert errors["torn"] is not None and "vocals.wav: no audio" in errors["torn"]
    assert errors["odd"] is not None and "differ in sample rate or channels" in errors["odd"]
    rows = {row["name"]: row for row in listed(tmp_path)}
    assert rows["torn"]["status"] == "failed" and rows["torn"]["error"] == errors["torn"]
    assert "seconds" in rows["good"] and "seconds" not in rows["odd"]


def test_one_stem_alone_and_one_that_is_shorter(tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "song")
    alone = measure_stems({"accompaniment": pair / "accompaniment.wav"}, None, tmp_path / "a.png")
    assert [*alone["waves"]] == ["accompaniment"] and alone["share"] is None
    vocals, _ = soundfile.read(pair / "vocals.wav")
    soundfile.write(pair / "vocals.wav", vocals[:RATE], RATE)
    paths = {name: pair / f"{name}.wav" for name in ("vocals", "accompaniment")}
    found = measure_stems(paths, None, tmp_path / "b.png")
    assert found["seconds"] == 4 and len({len(wave) for wave in found["waves"].values()}) == 1


def test_no_page_of_others_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(HtmdsepError, match=r"there are no stems in .*; name the folder"):
        list(write_page(tmp_path))
    with pytest.raises(HtmdsepError, match="there is no folder"):
        list(write_page(tmp_path / "none"))
    write_pair(tmp_path / "song")
    (tmp_path / PAGE).write_text("<title>mine</title>")
    with pytest.raises(HtmdsepError, match="was not made by htmdsep"):
        list(write_page(tmp_path))
    assert (tmp_path / PAGE).read_text() == "<title>mine</title>"
    (tmp_path / PAGE).unlink()
    list(write_page(tmp_path))
    list(write_page(tmp_path))  # its own is
    text = (tmp_path / PAGE).read_text() + (tmp_path / FOLDER / "page.js").read_text()
    assert "http" not in text  # nothing is fetched from elsewhere


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("name", [b"</script><b>\"'", b"\xff\xfe", b"100 %41 #?&", b"a:b"])
def test_names_are_written_so_that_they_mean_the_same(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name.replace(b"/", b"_"))
    write_pair(folder)
    list(write_page(tmp_path))
    address = song_file(tmp_path)["files"]["vocals"]
    assert Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + unquote_to_bytes(address))).is_file()
    assert ":" not in address and "#" not in address and "?" not in address
    (row,) = listed(tmp_path)
    assert row["name"] == name.replace(b"/", b"_").decode("utf-8", "replace")
