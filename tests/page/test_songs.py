"""Which songs are listed, of a manifest and of stems that are merely there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from htmdsep.batch.manifest import ManifestRow, OutputRecord, row_id
from htmdsep.options import StemName
from htmdsep.page.songs import find_songs


def touch(out: Path, *names: str) -> None:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()


def row(status: str, source: str, below: str = "", **known: object) -> bytes:
    names: dict[StemName, str] = {"vocals": f"{Path(source).stem}/vocals.wav"}
    fields = {
        "id": row_id(names.values()),
        "time": "2026-01-01T00:00:00.000Z",
        "status": status,
        "input": source,
        "below": below,
        "outputs": {stem: OutputRecord(name) for stem, name in names.items()},
        "options_sha256": "0",
        "weights_sha256": "0",
        "attempt": 1,
    }
    return ManifestRow(**{**fields, **known}).line()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vocals", "accompaniment", "folder", "name"),
    [
        ("a/song/vocals.wav", "a/song/accompaniment.wav", "a", "song"),
        ("song/vocals.flac", "song/accompaniment.flac", "", "song"),
        ("song_vocals.mp3", "song_accompaniment.mp3", "", "song"),
        ("vocals/b/song.opus", "accompaniment/b/song.opus", "b", "song"),
        ("vocals.wav", "accompaniment.wav", "", "stems"),
        ("song (vocals).wav", "song (accompaniment).wav", "", "song"),
        ("best vocals/vocals.m4a", "best vocals/accompaniment.m4a", "", "best"),
        ("vocals/vocals.wav", "accompaniment/vocals.wav", "", "stems"),
    ],
)
def test_pairs_are_found_by_their_names(
    tmp_path: Path, vocals: str, accompaniment: str, folder: str, name: str
) -> None:
    touch(tmp_path, vocals, accompaniment, "vocals.txt", "accompaniment.txt", "lone/vocals.wav")
    (song,) = find_songs(tmp_path)
    assert song.stems == {"vocals": vocals, "accompaniment": accompaniment}
    assert (song.folder, song.name, song.status) == (folder, name, "done")


def test_a_manifest_tells_what_became_of_its_songs(tmp_path: Path) -> None:
    with (tmp_path / "manifest.jsonl").open("wb") as file:
        file.write(row("done", "/music/b.mp3", "album", result={"notes": ["odd"]}))
        file.write(row("failed", "/music/a.mp3", "album", error="no audio"))
        file.write(row("started", "/music/c.mp3"))
        file.write(row("done", "s3://bucket/d.mp3"))
        file.write(row("done", "-"))
        track = {"vocals": OutputRecord("album/01 Title/Voice.wav")}
        file.write(row("done", "/music/album.flac", id="0" * 16, outputs=track))
    touch(tmp_path, "b/vocals.wav", "b/accompaniment.wav", "more/vocals.wav")
    touch(tmp_path, "more/accompaniment.wav")
    songs = {song.name: song for song in find_songs(tmp_path)}
    assert [*songs] == ["01 Title", "c.mp3", "d.mp3", "more", "standard input", "a.mp3", "b.mp3"]
    done = songs["b.mp3"]
    assert (done.status, done.notes, done.folder) == ("done", ("odd",), "album")
    assert done.original == Path("/music/b.mp3") and songs["d.mp3"].original is None
    assert songs["standard input"].original is None
    assert (songs["a.mp3"].status, songs["a.mp3"].error) == ("failed", "no audio")
    assert songs["c.mp3"].status == "unfinished" and songs["more"].original is None


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_need_not_be_text(tmp_path: Path) -> None:
    folder = os.fsdecode(b"\xff\xfe")
    touch(tmp_path, f"{folder}/vocals.wav", f"{folder}/accompaniment.wav")
    (song,) = find_songs(tmp_path)
    assert song.name == folder
