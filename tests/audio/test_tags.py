"""A song's tags survive in every format, as the reader here and another library find them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import mutagen
import mutagen.id3
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from htmdsep.audio.output import OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.stem_file import STREAMS
from htmdsep.audio.tags import TAGS, without_replaygain
from htmdsep.audio.writer import open_stem
from htmdsep.options import STEM_FILE, FileFormat, Subtype
from tests.audio.test_covers import png
from tests.audio.test_writer import set_wav_limit

RATE = 48_000
FORMATS: list[FileFormat] = list(get_args(FileFormat))
SONG = {
    **{name: f"{name} of a söng" for name in TAGS},
    **{"tracknumber": "3/12", "discnumber": "1/2", "date": "2001", "bpm": "128"},
    **{"lyrics": "la\nla", "replaygain_track_gain": "-7.10 dB", "replaygain_track_peak": "0.98"},
}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=100).map(str.strip)


def write(path: Path, file_format: FileFormat, tags: dict[str, str], frames: int = 1_000) -> None:
    is_exact = file_format in ("wav", "flac")
    subtype: Subtype = "PCM_16" if is_exact else "FLOAT"
    channels = 2 * len(STREAMS) if file_format == STEM_FILE else 2
    output = OutputFormat(file_format, subtype, RATE, 2, frames, "clamp", tags, png(8))
    with open_stem(path, output) as writer:
        writer.write(np.zeros((frames, channels), np.int16 if is_exact else np.float32))


def expected(file_format: FileFormat, tags: dict[str, str]) -> dict[str, str]:
    kept = {name: text for name, text in tags.items() if text}
    return without_replaygain(kept) if file_format == "opus" else kept


def read(path: Path) -> dict[str, str]:
    with open_audio(path, stream=0) as reader:
        assert sum(map(len, reader.blocks())) == 1_000 and not reader.notes
        return {name: text for name, text in reader.header.tags.items() if name in TAGS}


@pytest.mark.parametrize("file_format", FORMATS)
def test_all_of_them_are_found_again(tmp_path: Path, file_format: FileFormat) -> None:
    write(tmp_path / "stem", file_format, SONG | {"serial": "of no use", "album": ""})
    assert read(tmp_path / "stem") == expected(file_format, SONG | {"album": ""})


@pytest.mark.parametrize("file_format", FORMATS)
@given(texts=st.lists(TEXT, min_size=3, max_size=3))
@example(texts=["", "", ""])
@example(texts=["=", "a=b", "#\N{GRINNING FACE}"])
@settings(max_examples=15, deadline=None)
def test_whatever_they_say(file_format: FileFormat, texts: list[str]) -> None:
    tags = dict(zip(("artist", "lyrics", "initialkey"), texts, strict=True))
    with TemporaryDirectory() as folder:
        write(Path(folder) / "stem", file_format, tags)
        assert read(Path(folder) / "stem") == expected(file_format, tags)


def test_of_a_tempo_an_mp4_has_the_whole_number(tmp_path: Path) -> None:
    for tempo, found in (("127.96", "128"), ("174", "174")):
        write(tmp_path / "stem", "m4a", {"bpm": tempo})
        assert read(tmp_path / "stem") == {"bpm": found}


@pytest.mark.parametrize("file_format", ["flac", "ogg", "opus"])
def test_another_library_finds_vorbis_comments(tmp_path: Path, file_format: FileFormat) -> None:
    write(tmp_path / "stem", file_format, SONG)
    found: Any = mutagen.File(tmp_path / "stem")
    tags = {name: values[0] for name, values in found.tags.items()}
    tags.pop("metadata_block_picture", None)
    assert tags == expected(file_format, SONG)
    if file_format == "flac":
        assert [one.data for one in found.pictures] == [png(8).data]


@pytest.mark.parametrize("file_format", ["mp3", "wav"])
def test_another_library_finds_the_frames_of_id3(tmp_path: Path, file_format: FileFormat) -> None:
    write(tmp_path / "stem", file_format, SONG)
    path = (tmp_path / "stem").rename(tmp_path / f"stem.{file_format}")
    found: Any = mutagen.File(path).tags
    for name, (frame, _) in TAGS.items():
        (one,) = found.getall(f"TXXX:{name.upper()}" if frame == "TXXX" else frame)
        assert str(one.text if frame == "USLT" else one.text[0]) == SONG[name]
    assert [one.data for one in found.getall("APIC")] == [png(8).data]


@pytest.mark.parametrize("file_format", ["m4a", STEM_FILE])
def test_another_library_finds_the_boxes_of_an_mp4(tmp_path: Path, file_format: FileFormat) -> None:
    write(tmp_path / "stem", file_format, SONG)
    tags: Any = mutagen.File(tmp_path / "stem").tags
    assert tags["\xa9nam"] == [SONG["title"]] and tags["\xa9lyr"] == [SONG["lyrics"]]
    assert tags["tmpo"] == [128] and tags["trkn"] == [(3, 12)] and tags["disk"] == [(1, 2)]
    assert [bytes(one) for one in tags["covr"]] == [png(8).data]
    for name in ("initialkey", "ISRC", "LABEL", "replaygain_track_gain", "replaygain_album_peak"):
        assert tags[f"----:com.apple.iTunes:{name}"] == [SONG[name.lower()].encode()]


def test_a_wav_of_odd_length_and_an_rf64_take_their_tag_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (100, 1 << 32):
        set_wav_limit(monkeypatch, limit)
        output = OutputFormat("wav", "PCM_24", RATE, 1, None, "clamp", {"bpm": "99", "title": "a"})
        with open_stem(tmp_path / "stem", output) as writer:
            writer.write(np.ones((33, 1), np.int16))
        assert (tmp_path / "stem").read_bytes()[:4] == (b"RF64" if limit == 100 else b"RIFF")
        with open_audio(tmp_path / "stem") as reader:
            assert np.concatenate(list(reader.blocks())).shape == (33, 1) and not reader.notes
            assert reader.header.tags == {"bpm": "99", "title": "a"}


@pytest.mark.parametrize("file_format", ["mp3", "m4a", "flac", "ogg", "opus", "wav"])
def test_what_another_library_has_written_is_read(tmp_path: Path, file_format: FileFormat) -> None:
    path = tmp_path / f"song.{file_format}"
    write(path, file_format, {"title": "old"})
    song: Any = mutagen.File(path)
    if file_format in ("mp3", "wav"):
        frames: Any = mutagen.id3
        song.tags.add(frames.USLT(encoding=1, lang="eng", desc="", text="la\nla"))
        song.tags.add(frames.TBPM(encoding=0, text="128"))
        song.tags.add(frames.TKEY(encoding=3, text="F#m"))
        song.tags.add(frames.TXXX(encoding=3, desc="replaygain_track_gain", text="-7.10 dB"))
    elif file_format == "m4a":
        song["\xa9lyr"], song["tmpo"] = "la\nla", [128]
        for name, text in (("initialkey", b"F#m"), ("REPLAYGAIN_TRACK_GAIN", b"-7.10 dB")):
            song[f"----:com.apple.iTunes:{name}"] = text
    else:
        song["LYRICS"], song["bpm"], song["INITIALKEY"] = "la\nla", "128", "F#m"
        song["REPLAYGAIN_TRACK_GAIN"] = "-7.10 dB"
    song.save()
    wanted = {"lyrics": "la\nla", "bpm": "128", "initialkey": "F#m", "title": "old"}
    assert read(path) == wanted | {"replaygain_track_gain": "-7.10 dB"}
