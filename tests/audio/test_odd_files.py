"""Files as taggers, recorders, radios and `cat` leave them."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from htmdsep.audio.ogg import HEADER, _checksum, _pages
from htmdsep.audio.parts import whole
from htmdsep.audio.reader import AudioReader, open_audio
from htmdsep.audio.tags import id3_length
from htmdsep.errors import HtmdsepError
from tests.sounds import tone, write_av

RATE = 44_100


def read(path: Path) -> tuple[np.ndarray, AudioReader]:
    with open_audio(path) as reader:
        return np.concatenate(list(reader.blocks())), reader


def sound(file_format: str, frames: int = RATE, rate: int = RATE, **changes: str) -> bytes:
    packed = io.BytesIO()
    soundfile.write(packed, tone(frames, rate, 2), rate, format=file_format, **changes)
    return packed.getvalue()


def id3v2() -> bytes:
    frames = b"".join(
        name + struct.pack(">I", len(text) + 1) + b"\0\0\3" + text
        for name, text in ((b"TIT2", b"Song"), (b"TPE1", b"Anna"), (b"TALB", b"Album"))
    )
    return b"ID3\4\0\0" + bytes([0, 0, len(frames) >> 7, len(frames) & 127]) + frames


def info_chunk(title: bytes) -> bytes:
    item = b"INAM" + struct.pack("<I", len(title)) + title + bytes(len(title) % 2)
    return b"LIST" + struct.pack("<I", 4 + len(item)) + b"INFO" + item


def id3v1(title: bytes) -> bytes:
    return b"TAG" + title.ljust(125, b"\0")


def chunk(name: bytes, content: bytes, order: str) -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


@pytest.mark.parametrize("ending", ["wav", "aiff", "flac", "wv", "w64"])
def test_an_id3v2_tag_before_the_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a"
    if ending == "wv":
        data = write_av(tmp_path / "a.wv", tone(RATE, RATE, 2), RATE, "wavpack").read_bytes()
    else:
        data = sound(ending.upper())
    path.write_bytes(data)
    expected = read(path)[0]
    path.write_bytes(id3v2() + data)
    found, reader = read(path)
    assert np.array_equal(found, expected) and reader.notes == []
    assert reader.header.tags.items() >= {"title": "Song", "artist": "Anna"}.items()


@pytest.mark.parametrize(
    ("ending", "name", "order"), [("WAV", b"id3 ", "<"), ("AIFF", b"ID3 ", ">")]
)
def test_an_id3v2_tag_in_a_chunk(tmp_path: Path, ending: str, name: bytes, order: str) -> None:
    data = bytearray(sound(ending) + chunk(name, id3v2(), order))
    data[4:8] = struct.pack(f"{order}I", len(data) - 8)
    (tmp_path / "a").write_bytes(data)
    _, reader = read(tmp_path / "a")
    assert reader.header.tags.items() >= {"title": "Song", "album": "Album"}.items()
    assert reader.notes == []


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("ending", ["WAV", "MP3"])
def test_tags_in_old_letters(tmp_path: Path, encoding: str, ending: str) -> None:
    title = "Jóga · Björk".encode(encoding)
    data = bytearray(sound(ending) + (info_chunk(title) if ending == "WAV" else id3v1(title)))
    if ending == "WAV":
        data[4:8] = struct.pack("<I", len(data) - 8)
    (tmp_path / "a").write_bytes(data)
    assert read(tmp_path / "a")[1].header.tags["title"] == "Jóga · Björk"


def test_an_id3v1_tag_behind_a_wav_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(sound("WAV") + id3v1(b"Song"))
    found, reader = read(tmp_path / "a")
    assert len(found) == RATE and reader.notes == []


def ape(text: bytes) -> bytes:
    """An APEv2 tag, as mp3gain writes it."""
    item = struct.pack("<II", len(text), 0) + b"REPLAYGAIN\0" + text
    ends = (
        b"APETAGEX" + struct.pack("<IIII8x", 2_000, len(item) + 32, 1, flags)
        for flags in (0xA0000000, 0x80000000)
    )
    return item.join(ends)


def lyrics3(version: int) -> bytes:
    """Lyrics as players of the nineties keep them behind the sound, before an ID3v1 tag."""
    words = b"[00:01]la la la\r\n" * 20
    if version == 1:
        return b"LYRICSBEGIN" + words + b"LYRICSEND"
    body = b"LYRICSBEGININD0000210LYR%05d" % len(words) + words
    return body + b"%06dLYRICS200" % len(body)


@pytest.mark.parametrize("order", ["1", "2", "12", "21", "a", "a12", "L1", "l1", "aL12"])
def test_tags_between_joined_mp3s_take_no_sound_with_them(tmp_path: Path, order: str) -> None:
    song = write_av(tmp_path / "a.mp3", tone(RATE, RATE, 2), RATE, "libmp3lame").read_bytes()
    sounding = song[id3_length(song) :]
    kinds = {"1": id3v1(b"song"), "2": id3v2(), "a": ape(b"-7 dB")}
    kinds |= {"l": lyrics3(1), "L": lyrics3(2)}
    tags = b"".join(kinds[one] for one in order)
    (tmp_path / "b.mp3").write_bytes(song + sounding)
    (tmp_path / "c.mp3").write_bytes(song + tags + sounding)
    (expected, _), (found, reader) = read(tmp_path / "b.mp3"), read(tmp_path / "c.mp3")
    assert np.array_equal(found, expected)
    (note,) = reader.notes
    assert "all of which was read" in note


def test_an_empty_tag_is_no_tag(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mka", tone(RATE, RATE, 2), RATE, "flac", title="", artist=" ")
    assert not {"title", "artist"} & read(path)[1].header.tags.keys()


def with_page(ogg: bytes, number: int, content: bytes) -> bytes:
    """Return an Ogg file with another content in its first or second page."""
    start = 0
    for _ in range(number):
        start += HEADER.size + ogg[start + 26] + sum(ogg[start + HEADER.size :][: ogg[start + 26]])
    end = start + HEADER.size + ogg[start + 26] + sum(ogg[start + HEADER.size :][: ogg[start + 26]])
    lacing = bytes([255] * (len(content) // 255) + [len(content) % 255])
    head = ogg[start : start + 22] + bytes(4) + bytes([len(lacing)])
    checksum = struct.pack("<I", _checksum(head + lacing + content))
    return ogg[:start] + head[:22] + checksum + head[26:] + lacing + content + ogg[end:]


@pytest.mark.parametrize("rate", [0, 8_000, 16_000, 44_100])
def test_the_rate_in_an_opus_header_is_for_information(tmp_path: Path, rate: int) -> None:
    data = sound("OGG", 48_000, 48_000, subtype="OPUS")
    head = bytearray(data[28 : 28 + data[27]])
    head[12:16] = struct.pack("<I", rate)
    (tmp_path / "a").write_bytes(with_page(data, 0, bytes(head)))
    found, reader = read(tmp_path / "a")
    assert reader.header.sample_rate == 48_000 and len(found) == 48_000


def test_all_values_of_a_tag_are_kept(tmp_path: Path) -> None:
    data = sound("OGG", 48_000, 48_000, subtype="OPUS")
    texts = (b"ARTIST=Anna", b"ARTIST=Bela", b"YEAR=2012", b"COMMENT=")
    content = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", len(texts))
    content += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    (tmp_path / "a").write_bytes(with_page(data, 1, content))
    tags = read(tmp_path / "a")[1].header.tags
    assert tags["artist"] == "Anna;Bela" and tags["date"] == "2012" and "comment" not in tags


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("songs", [2, 4])
def test_a_chain_holds_what_its_songs_hold(tmp_path: Path, subtype: str, songs: int) -> None:
    path, parts, data = tmp_path / "a", [], b""
    for number in range(songs):
        packed = io.BytesIO()
        signal = tone(30_000 + 1_000 * number, 48_000, 2, 300.0 + 100 * number)
        soundfile.write(
            packed, signal, 48_000, subtype, format="OGG", compression_level=0.2 * number
        )
        path.write_bytes(packed.getvalue())
        parts.append(read(path)[0])
        data += packed.getvalue()
    path.write_bytes(data)
    found, reader = read(path)
    assert np.array_equal(found, np.concatenate(parts)) and reader.notes == []


def test_a_cut_ogg_is_told(tmp_path: Path) -> None:
    data = sound("OGG", 10 * RATE)
    (tmp_path / "a").write_bytes(data[: len(data) * 6 // 10])
    found, reader = read(tmp_path / "a")
    assert 4 * RATE < len(found) < 8 * RATE
    assert reader.notes == ["it may be cut: its last page is not marked as the end"]


def at_another_time(ogg: bytes, frames: int) -> bytes:
    """Return an Ogg file that tells to begin so many frames after its zero."""
    moved = b""
    for page in _pages(whole(io.BytesIO(ogg))):
        data = bytearray(ogg[page.start : page.end])
        granule = page.granule + frames if page.granule > 0 else page.granule
        data[6:14], data[22:26] = struct.pack("<q", granule), bytes(4)
        data[22:26] = struct.pack("<I", _checksum(bytes(data)))
        moved += data
    return moved


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("frames", [-4_000, -20_000, 4_800_000])
def test_an_ogg_may_begin_at_any_time(tmp_path: Path, subtype: str, frames: int) -> None:
    """As what is recorded of a radio does, and what was cut out without coding it anew."""
    data = sound("OGG", 5 * 48_000, 48_000, subtype=subtype)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(at_another_time(data, frames))
    (expected, _), (found, reader) = read(tmp_path / "a"), read(tmp_path / "b")
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert all("all of which was read" in note for note in reader.notes)


def test_the_channels_of_an_8svx_lie_one_behind_the_other(tmp_path: Path) -> None:
    signal = np.stack([np.full(4_000, 64), np.full(4_000, -32)]).astype(np.int8)
    head = struct.pack(">IIIHBBI", 4_000, 0, 0, 22_050, 1, 0, 0x10000)
    chunks = (b"VHDR", head), (b"CHAN", struct.pack(">I", 6)), (b"BODY", signal.tobytes())
    body = b"8SVX" + b"".join(chunk(name, content, ">") for name, content in chunks)
    (tmp_path / "a").write_bytes(chunk(b"FORM", body, ">"))
    assert np.array_equal(read(tmp_path / "a")[0], signal.T / np.float32(128))


def test_an_mp3_in_a_wav_is_not_called_cut(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.wav", tone(5 * RATE, RATE, 2), RATE, "libmp3lame")
    found, reader = read(path)
    assert len(found) >= 5 * RATE and reader.notes == []


def test_realaudio_tells_no_times(tmp_path: Path) -> None:
    path = tmp_path / "a.ra"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("real_144", rate=8_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        for start in range(0, 24_000, 160):
            samples = np.full((1, 160), 1_000 + start // 8, np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate, frame.pts = 8_000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found, reader = read(path)
    assert abs(len(found) - 24_000) <= 160 and reader.notes == []


@pytest.mark.parametrize("ending", ["WAV", "AIFF", "W64", "CAF", "AU"])
@pytest.mark.parametrize("change", ["joined", "cut"])
def test_uncompressed_files_that_do_not_fit_their_header(
    tmp_path: Path, ending: str, change: str
) -> None:
    data = sound(ending)
    (tmp_path / "a").write_bytes(data * 2 if change == "joined" else data[: len(data) // 2])
    found, reader = read(tmp_path / "a")
    assert reader.notes
    if change == "joined":
        assert len(found) >= RATE
    else:
        assert reader.notes[0].startswith("truncated: its header announces ")


def test_a_wav_whose_header_announces_nothing_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytearray(sound("WAV"))
    data[40:44] = bytes(4)
    (tmp_path / "a").write_bytes(data)
    found, reader = read(tmp_path / "a")
    assert len(found) == RATE
    assert reader.notes == ["its header announces no audio; it was read to its end"]


@pytest.mark.parametrize("data", ["mp3", "aac"])
def test_no_note_where_nothing_is_announced(tmp_path: Path, data: str) -> None:
    """The bit rate of a quiet beginning says nothing of the length."""
    signal = np.concatenate([np.zeros((20 * RATE, 2), np.float32), tone(3 * RATE, RATE, 2)])
    path = tmp_path / f"a.{data}"
    with av.open(
        str(path), "w", format="adts" if data == "aac" else data, options={"write_xing": "0"}
    ) as output:
        stream = output.add_stream(
            "aac" if data == "aac" else "libmp3lame", rate=RATE, layout="stereo"
        )
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(signal.T), "fltp", "stereo")
        frame.sample_rate = RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found, reader = read(path)
    assert abs(len(found) - len(signal)) < 0.1 * RATE and reader.notes == []


@pytest.mark.parametrize("value", [1e30, -3.4e38, 2e6])
def test_a_sample_that_drowns_all_others_is_refused(tmp_path: Path, value: float) -> None:
    signal = tone(RATE, RATE, 2)
    signal[RATE // 2, 1] = value
    soundfile.write(tmp_path / "a.wav", signal, RATE, "FLOAT")
    with pytest.raises(
        HtmdsepError, match=r"a sample is -?\d.*e\+\d+ at 0\.500 s, where full scale"
    ):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1, 999, 1_000_000])
def test_a_rate_in_a_wrong_unit_is_refused(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1_000, RATE), rate)
    with pytest.raises(HtmdsepError, match=f"its sample rate is {rate} Hz; convert it to one from"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "text",
    [
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 23456 RTP/AVP 96\r\na=rtpmap:96 L16/44100/2\r\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{song}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{song}'\n",
        "[playlist]\nFile1={song}\n",
    ],
)
def test_what_a_file_names_is_not_opened(tmp_path: Path, text: str) -> None:
    (tmp_path / "song.wav").write_bytes(sound("WAV"))
    path = tmp_path / "a.mp3"
    path.write_text(text.format(song=tmp_path / "song.wav"))
    begun = time.monotonic()
    with pytest.raises(HtmdsepError):
        read(path)
    assert time.monotonic() - begun < 5


def test_zeros_are_no_audio(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(bytes(100_000))
    with pytest.raises(HtmdsepError, match="no audio that can be decoded"):
        read(tmp_path / "a.mp3")


@pytest.mark.parametrize(("subtype", "depth"), [("PCM_32", "24 bits"), ("DOUBLE", "32 bits")])
def test_depth_that_is_not_kept_is_told(tmp_path: Path, subtype: str, depth: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1_000, RATE), RATE, subtype)
    (note,) = read(tmp_path / "a.wav")[1].notes
    assert note.endswith(f"are read as {depth}")


def test_other_streams_and_late_sound_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("flac", rate=RATE, layout="mono") for _ in range(2)]
        for late, stream in zip((RATE, 0), streams, strict=True):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = RATE, late
            output.mux([*stream.encode(frame), *stream.encode(None)])
    _, reader = read(path)
    assert reader.notes == [
        "its sound begins 1.000 s after its other streams; the stems begin with it",
        "it holds 2 audio streams; the first is read",
    ]


def test_a_kind_without_a_header_is_known_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "a.g722"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("g722", rate=16_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        output.mux([*stream.encode(frame), *stream.encode(None)])
    found, reader = read(path)
    assert len(found) == 16_000 and reader.header.sample_rate == 16_000


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_video_that_was_cut_is_told(tmp_path: Path, share: float) -> None:
    """Its sound is shorter than its picture, which is no cut."""
    path = tmp_path / "a.flv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("flv1", rate=10)
        assert isinstance(video, av.VideoStream)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        audio = output.add_stream("libmp3lame", rate=RATE, layout="mono")
        assert isinstance(audio, av.AudioStream)
        for number in range(100):
            picture = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), "yuv420p")
            picture.pts = number
            output.mux(video.encode(picture))
            if number < 80:
                samples = np.zeros((1, RATE // 10), np.float32)
                frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
                frame.sample_rate, frame.pts = RATE, number * RATE // 10
                output.mux(audio.encode(frame))
        output.mux([*video.encode(None), *audio.encode(None)])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    notes = read(path)[1].notes
    if share == 1.0:
        assert notes == []
    else:
        assert any(note.startswith("it may be cut: its header announces") for note in notes)


def flv_tags(data: bytes) -> list[tuple[int, int]]:
    """Return where each tag of an FLV begins and ends, with the length of it that follows."""
    tags, start = [], 13
    while start < len(data):
        end = start + 11 + int.from_bytes(data[start + 1 : start + 4], "big") + 4
        tags.append((start, end))
        start = end
    return tags


def test_an_flv_begins_at_zero(tmp_path: Path) -> None:
    rate = 48_000  # of whose packets timestamps in milliseconds are exact
    data = write_av(tmp_path / "a.flv", tone(rate, rate, 2), rate, "libmp3lame").read_bytes()
    whole = read(tmp_path / "a.flv")[0]
    start, end = next(tag for tag in flv_tags(data) if data[tag[0]] == 8)  # audio
    (tmp_path / "a.flv").write_bytes(data[:start] + data[end:])
    found, reader = read(tmp_path / "a.flv")
    assert "silence stands for what is lost" in reader.notes[0]
    np.testing.assert_allclose(found[5_000:40_000], whole[5_000:40_000], atol=0.02)


def test_a_stream_that_damage_made_does_not_hide_a_cut(tmp_path: Path) -> None:
    data = write_av(tmp_path / "a.flv", tone(5 * RATE, RATE, 2), RATE, "libmp3lame").read_bytes()
    torn = bytearray(data)
    start, _ = [tag for tag in flv_tags(data) if data[tag[0]] == 8][3]
    torn[start : start + 8] = bytes([18, 1, 3, 85, 2, 96, 246, 7])  # text of a later day
    (tmp_path / "a.flv").write_bytes(torn[: len(torn) // 3])
    assert read(tmp_path / "a.flv")[1].notes


def test_a_wild_timestamp_of_a_broadcast_is_no_hole_of_hours(tmp_path: Path) -> None:
    data = bytearray(write_av(tmp_path / "a.ts", tone(4 * RATE, RATE, 2), RATE, "mp2").read_bytes())
    place, packets = -1, 0
    while (place := data.find(b"\0\0\1\xc0", place + 1)) >= 0:
        packets += 1
        if packets > 3:
            data[place + 9] |= 0x04  # of its 33 bits the second: 6.6 hours
    (tmp_path / "a.ts").write_bytes(data)
    found, reader = read(tmp_path / "a.ts")
    assert packets > 4 and len(found) < 5 * RATE and "begin anew" in reader.notes[0]


def test_a_matroska_header_that_does_not_fit_its_checksum_is_told(tmp_path: Path) -> None:
    data = write_av(tmp_path / "a.mka", tone(RATE, RATE, 2), RATE, "aac").read_bytes()
    assert read(tmp_path / "a.mka")[1].notes == []
    place = data.index(b"\x56\xaa") + 4  # CodecDelay: its name, its size, nanoseconds
    torn = bytearray(data)
    torn[place] ^= 0x10
    (tmp_path / "a.mka").write_bytes(torn)
    assert any("does not fit its checksum" in note for note in read(tmp_path / "a.mka")[1].notes)
