"""Playlists: their entries are inputs, as files on this machine's disks and nothing else."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.audio.reader import open_audio
from htmdsep.batch.plan import Source
from htmdsep.batch.playlists import listed_in
from htmdsep.batch.sources import find_sources
from tests.batch.songs import Run, counts
from tests.sounds import tone

RATE = 44_100


def listed(path: Path, content: bytes) -> list[Source]:
    path.write_bytes(content)
    return list(listed_in(Source(str(path))))


FILE_NAMES = st.text(
    st.characters(exclude_characters="\0\r\n/\\#%:", codec="utf-8"), min_size=1, max_size=20
).filter(lambda name: name.strip() == name and name not in (".", "..", "-"))


@given(
    st.lists(FILE_NAMES, min_size=1, unique=True),
    st.sampled_from(["m3u", "m3u8", "pls", "M3U"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_entries_are_files_beside_the_playlist(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    ending: str,
    encoding: str,
    end: str,
    is_absolute: bool,
) -> None:
    folder = tmp_path_factory.mktemp("music")
    places = [str(folder / f"{name}.mp3") for name in names]
    entries = places if is_absolute else [f"{name}.mp3" for name in names]
    if ending == "pls":
        lines = ["[playlist]", *(f"File{n}={one}" for n, one in enumerate(entries)), "Version=2"]
    else:
        lines = ["#EXTM3U", *(line for one in entries for line in ("#EXTINF:1,x", one)), ""]
    found = listed(folder / f"list.{ending}", end.join(lines).encode(encoding))
    assert [source.name for source in found] == places
    assert not any(source.problem for source in found)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("Fröken Ågren.mp3".encode("latin-1"), "Fröken Ågren.mp3"),
        ("Fröken Ågren.mp3".encode("latin-1"), os.fsdecode("Fröken Ågren.mp3".encode("latin-1"))),
        (b"It\x92s.mp3", "It\N{RIGHT SINGLE QUOTATION MARK}s.mp3"),
        (b"deep\\er\\song.mp3", "deep/er/song.mp3"),
        (b"deep\\song.mp3", "deep\\song.mp3"),
        (b"one%20two%23.mp3", "one two#.mp3"),
        (b"one%20two.mp3", "one%20two.mp3"),
        (b"song.mp3  ", "song.mp3"),
        (b"../up.mp3", "../up.mp3"),
        (b"-", "-"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_an_entry_finds_its_file_however_it_is_written(
    tmp_path: Path, entry: bytes, name: str
) -> None:
    place = tmp_path / "lists" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    (source,) = listed(tmp_path / "lists" / "list.m3u", entry + b"\r\n")
    assert Path(source.name).samefile(place) and source.problem is None


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("http://example.com/a.mp3", "an address"),
        ("rtsp://example.com/a", "an address"),
        ("udp://@239.0.0.1:1234", "an address"),
        ("s3://bucket/a.mp3", "an address"),
        ("other.m3u", "a playlist in a playlist"),
        ("list.m3u", "a playlist in a playlist"),
        ("folder", "no file"),
        ("pipe", "no file"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_what_is_no_file_is_refused_entry_by_entry(
    tmp_path: Path, entry: str, problem: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.mp3").touch()
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "list.m3u"
    refused, taken = listed(path, f"{entry}\na.mp3\n".encode())
    assert refused.problem is not None and problem in refused.problem
    assert refused.label == f"{path}: {entry}"
    assert taken.problem is None and taken.name == str(tmp_path / "a.mp3")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.ts\n", "parts of a stream"),
        ("a.m3u", "#EXTM3U\n", "lists no file"),
        ("a.pls", "[playlist]\n", "lists no file"),
        ("a.cue", 'TITLE "x"\nINDEX 01 00:00:00\n', "lists no file"),
        ("a.m3u", "\ufeffx".encode("utf-16-le").decode("latin-1")[:3], "cannot be read"),
    ],
)
def test_a_playlist_of_no_songs_is_a_problem(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (source,) = listed(tmp_path / name, text.encode("latin-1"))
    assert source.problem is not None and problem in source.problem


def test_playlists_come_by_name_pattern_and_list_but_not_with_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        (folder / name).touch()
    (folder / "list.m3u").write_text("b.wav\na.wav\n")
    out, expected = str(tmp_path / "out"), [str(folder / name) for name in ("b.wav", "a.wav")]
    inputs = [str(folder / "list.m3u")]
    for given_inputs, given_list in ((inputs, []), ([str(folder / "*.m3u")], []), ([], inputs)):
        found = find_sources(given_inputs, out, recursive=False, listed=map(Source, given_list))
        assert [source.name for source in found] == expected
    found = find_sources([str(folder)], out, recursive=True)
    assert [source.name for source in found] == sorted(expected)


SHEET = """\
REM GENRE Pop
REM COMMENT "no tag"
PERFORMER "Alle"
TITLE "Das Album"
FILE "the \\"album\\".wav" WAVE
  TRACK 01 AUDIO
    TITLE "Wer: ich/du?"
    PERFORMER "Eine"
    INDEX 01 00:00:00
\tTRACK 02 AUDIO
\t\tTITLE Zwei Worte
\t\tINDEX 00 00:00:20
\t\tINDEX 01 00:00:30
FILE other.wav WAVE
  TRACK 03 AUDIO
    INDEX 1 00:01:00
""".replace('\\"', "'")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_cue_sheet_lists_tracks(tmp_path: Path, encoding: str, end: str) -> None:
    sheet = SHEET.replace("Eine", "Fröken Ågren").replace("\n", end)
    found = listed(tmp_path / "a.cue", sheet.encode(encoding))
    tracks = [source.track for source in found if source.track is not None]
    assert [Path(source.name).name for source in found] == [*["the 'album'.wav"] * 2, "other.wav"]
    assert [track.name for track in tracks] == ["01 Wer_ ich_du_", "02 Zwei Worte", "03"]
    times = [(track.start_seconds, track.duration_seconds) for track in tracks]
    assert times == [(0.0, 0.4), (0.4, None), (1.0, None)]
    shared = {"album": "Das Album", "genre": "Pop"}
    assert [dict(track.tags) for track in tracks] == [
        {**shared, "tracknumber": "01", "title": "Wer: ich/du?", "artist": "Fröken Ågren"},
        {**shared, "tracknumber": "02", "title": "Zwei Worte", "artist": "Alle"},
        {**shared, "tracknumber": "03", "artist": "Alle"},
    ]


def test_data_is_no_track_but_ends_one(tmp_path: Path) -> None:
    sheet = "FILE a.bin BINARY\nTRACK 1 AUDIO\nINDEX 01 00:00:00\nTRACK 2 MODE1/2352\n"
    (source,) = listed(tmp_path / "a.cue", (sheet + "INDEX 01 01:00:00").encode())
    assert source.track is not None and source.track.duration_seconds == 60


def test_times_that_go_back_are_a_problem_of_their_track(tmp_path: Path) -> None:
    sheet = "FILE a.wav WAVE\nTRACK 1 AUDIO\nINDEX 01 00:02:00\nTRACK 2 AUDIO\nINDEX 01 00:01:00\n"
    bad, good = listed(tmp_path / "a.cue", sheet.encode())
    assert bad.problem is not None and "begins no later" in bad.problem
    assert good.problem is None


WORDS = st.sampled_from([
    *("FILE", "TRACK", "INDEX", "TITLE", "REM", "GENRE", "AUDIO", "MODE1", "WAVE", "01", "1", "2"),
    *('"', " ", "\t", "\n", "00:00:00", "99:99:99", "9999999:00:00", "a/..", "File1=", "#EXTM3U"),
    *("\0", "/", "..", "://", "file://", "%00", "é", "{stem}"),
])  # fmt: skip


@given(
    st.sampled_from(["m3u", "pls", "cue"]),
    st.one_of(st.binary(), st.lists(WORDS).map(" ".join).map(str.encode)),
)
def test_whatever_a_playlist_holds_is_a_name_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, ending: str, content: bytes
) -> None:
    found = listed(tmp_path_factory.mktemp("list") / f"a.{ending}", content)
    assert found
    for source in found:
        assert source.problem or "\0" not in source.name
        if source.track is not None:
            name = source.track.name
            assert name and not set(name) & set("/\\:\0") and name.strip(" .") == name
            assert 0 <= source.track.start_seconds < 1e6


def album(seconds: float = 1.5) -> np.ndarray:
    wave = tone(round(seconds * RATE), RATE, 2)
    soundfile.write("album.wav", wave, RATE)
    return np.asarray(soundfile.read("album.wav", dtype="int32")[0])


def tracks_of(out: str, count: int, stem: str = "vocals") -> np.ndarray:
    """Return a stem of all tracks, end to end."""
    paths = sorted(Path(out).glob(f"*/{stem}.wav"))
    assert len(paths) == count
    return np.concatenate([soundfile.read(path, dtype="int32")[0] for path in paths])


def write_sheet(starts: list[int], name: str = "album.cue") -> None:
    text = io.StringIO()
    text.write('TITLE "Album"\nFILE "album.wav" WAVE\n')
    for number, start in enumerate(starts, 1):
        text.write(f'TRACK {number:02} AUDIO\nTITLE "Track {number}"\nINDEX 01 00:00:{start:02}\n')
    Path(name).write_text(text.getvalue())


def test_tracks_end_to_end_are_the_song(run: Run) -> None:
    mixture = album()
    write_sheet([0, 13, 47])
    result = run("album.cue", "-o", "out", "--json")
    assert result.exit_code == 0, result.stderr
    total = tracks_of("out", 3).astype(np.int64) + tracks_of("out", 3, "accompaniment")
    assert np.array_equal(total, mixture)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["track"] for one in records] == ["01 Track 1", "02 Track 2", "03 Track 3"]
    assert {one["input"] for one in records} == {"album.wav"}
    with open_audio(Path("out/02 Track 2/vocals.wav")) as reader:
        tags = reader.header.tags
    assert (tags["title"], tags["album"], tags["tracknumber"]) == ("Track 2", "Album", "02")


def test_what_is_asked_for_is_asked_for_of_every_track(run: Run) -> None:
    album()
    write_sheet([0, 20])
    assert run("album.cue", "-o", "out", "--start", "0.1", "--duration", "0.5").exit_code == 0
    lengths = [soundfile.info(f"out/0{n} Track {n}/vocals.wav").frames for n in (1, 2)]
    assert lengths == [round(RATE * (20 / 75 - 0.1)), RATE // 2]
    result = run("album.cue", "-o", "other", "--start", "0.3")
    assert result.exit_code == 1 and "this track is 0.267 s long; begin earlier" in result.stderr
    assert result.stderr.endswith("1 done, 0 skipped, 1 failed\n")


def test_tracks_are_resumed_and_done_again_where_they_begin_elsewhere(run: Run) -> None:
    album()
    for starts, expected in (
        ([0, 20], "2 done, 0"),
        ([0, 20], "0 done, 2"),
        ([0, 21], "2 done, 0"),
    ):
        write_sheet(starts)
        result = run("album.cue", "-o", "out", "--resume")
        assert counts(result) == f"{expected} skipped, 0 failed"
    assert soundfile.info("out/01 Track 1/vocals.wav").frames == RATE * 21 // 75


def test_what_a_manifest_tells_of_tracks_is_done_again(run: Run) -> None:
    album()
    write_sheet([0, 20, 30])
    assert run("album.cue", "-o", "out").exit_code == 0
    result = run("--from", "out/manifest.jsonl", "-o", "again", "--json")
    assert counts(result) == "3 done, 0 skipped, 0 failed"
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["track"] for one in records] == ["01 Track 1", "02 Track 2", "03 Track 3"]
    stems = [path.relative_to("out") for path in Path("out").glob("*/*.wav")]
    assert len(stems) == 6
    assert all(Path("out", one).read_bytes() == Path("again", one).read_bytes() for one in stems)
    assert counts(run("album.cue", "-o", "again", "--resume")) == "0 done, 3 skipped, 0 failed"


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_addresses_in_playlists_are_asked_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, shard: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("htmdsep.batch.storage.remote", asked.append)
    album(0.2)
    Path("list.m3u").write_text("http://localhost:1/a.mp3\nalbum.wav\n")
    run("list.m3u", "-o", "out", "--shard", shard)
    assert not asked
