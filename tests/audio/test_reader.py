from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from htmdsep.audio.reader import AudioReader, open_audio
from htmdsep.audio.sizes import SIZES_UNKNOWN
from htmdsep.errors import HtmdsepError
from tests.sounds import (
    flac_bytes,
    frames_of,
    tone,
    with_announced_mp3_frames,
    without_length,
    write_av,
)

RATE = 44_100


def read(path: Path, **excerpt: Any) -> tuple[np.ndarray, AudioReader]:
    with open_audio(path, **excerpt) as reader:
        blocks = list(reader.blocks())
    return np.concatenate(blocks), reader


@pytest.mark.parametrize(
    ("file_format", "subtype", "depth", "tolerance"),
    [
        ("WAV", "PCM_U8", "PCM_16", 2**-7),
        ("WAV", "PCM_16", "PCM_16", 2**-15),
        ("WAV", "PCM_24", "PCM_24", 2**-23),
        ("WAV", "PCM_32", "PCM_24", 2**-23),
        ("WAV", "FLOAT", "FLOAT", 0),
        ("WAV", "DOUBLE", "FLOAT", 0),
        ("WAV", "ULAW", "PCM_16", 0.02),
        ("WAVEX", "PCM_16", "PCM_16", 2**-15),
        ("RF64", "PCM_16", "PCM_16", 2**-15),
        ("W64", "PCM_24", "PCM_24", 2**-23),
        ("AIFF", "PCM_16", "PCM_16", 2**-15),
        ("AU", "PCM_16", "PCM_16", 2**-15),
        ("CAF", "PCM_24", "PCM_24", 2**-23),
        ("FLAC", "PCM_16", "PCM_16", 2**-15),
        ("FLAC", "PCM_24", "PCM_24", 2**-23),
        ("OGG", "VORBIS", "PCM_16", 0.05),
        ("MP3", "MPEG_LAYER_III", "PCM_16", 0.05),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(
    tmp_path: Path, file_format: str, subtype: str, depth: str, tolerance: float, channels: int
) -> None:
    path = tmp_path / "sound"  # no ending: the first bytes decide
    signal = tone(RATE, RATE, channels)
    soundfile.write(path, signal, RATE, subtype, format=file_format)
    found, reader = read(path)
    assert found.shape == signal.shape and found.dtype == np.float32
    assert np.abs(found - signal).max() <= tolerance
    assert (reader.header.sample_rate, reader.header.subtype) == (RATE, depth)


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_integers_are_read_exactly(tmp_path: Path, endian: str) -> None:
    values = np.random.default_rng(0).integers(-(2**15), 2**15, (1_000, 2)).astype(np.int16)
    for file_format in ("WAV", "FLAC"):
        path = tmp_path / f"exact.{file_format}"
        soundfile.write(
            path, values, RATE, format=file_format, endian=endian if file_format == "WAV" else None
        )
        assert np.array_equal(read(path)[0] * 2**15, values)


@pytest.mark.parametrize(
    ("ending", "codec"), [("m4a", "aac"), ("mp4", "aac"), ("mkv", "aac"), ("webm", "libopus")]
)
def test_what_libsndfile_cannot_read(tmp_path: Path, ending: str, codec: str) -> None:
    rate = 48_000
    signal = tone(rate, rate, 2)
    path = write_av(tmp_path / f"sound.{ending}", signal, rate, codec)
    found, reader = read(path)
    assert reader.header.sample_rate == rate
    assert abs(len(found) - len(signal)) <= 1_024  # AAC and Opus work in frames
    shared = min(len(found), len(signal)) - 2_048
    assert np.abs(found[2_048:shared] - signal[2_048:shared]).max() < 0.05  # aligned, too


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (192_000, 8), (11_025, 3)])
def test_rates_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1_000, rate, channels), rate)
    found, reader = read(path)
    assert found.shape == (1_000, channels) and reader.header.sample_rate == rate


def test_one_frame(tmp_path: Path) -> None:
    for ending in ("wav", "flac"):
        path = tmp_path / f"one.{ending}"
        soundfile.write(path, tone(2, RATE)[1:], RATE)
        assert read(path)[0].shape == (1, 1)


def test_excerpt(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    signal = tone(3 * RATE, RATE)
    soundfile.write(path, signal, RATE, "FLOAT")
    found, reader = read(path, start_seconds=1.25, duration_seconds=0.5)
    assert reader.frames == RATE // 2
    assert np.array_equal(found, signal[round(1.25 * RATE) :][: RATE // 2])
    assert len(read(path, start_seconds=2.5, duration_seconds=10.0)[0]) == RATE // 2
    with pytest.raises(HtmdsepError, match=r"nothing to read from 3 s on: it holds 3 s"):
        read(path, start_seconds=3.0)


@pytest.mark.parametrize("factor", [4, 0.25])
def test_mp3_that_announces_a_wrong_length(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "sound.mp3"
    soundfile.write(path, tone(2 * RATE, RATE), RATE)
    expected = read(path)[0]
    path.write_bytes(with_announced_mp3_frames(path.read_bytes(), factor))
    found, _ = read(path)
    assert abs(len(found) - len(expected)) < 2_304  # where the padding lies is no longer known
    assert np.array_equal(found[: RATE // 3], expected[: RATE // 3])


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    signal = tone(10_000, RATE, 2)
    path.write_bytes(without_length(flac_bytes(path, signal, RATE, "PCM_24")))
    found, reader = read(path)
    assert reader.frames is None and found.shape == signal.shape
    assert np.abs(found - signal).max() <= 2**-23


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(22_050, 2, "PCM_16"), (RATE, 1, "PCM_16"), (RATE, 2, "PCM_24"), (RATE, 2, "PCM_16")],
)
@pytest.mark.parametrize("headers", [True, False])
def test_flac_that_changes_on_the_way_is_told(
    tmp_path: Path, rate: int, channels: int, subtype: str, headers: bool
) -> None:
    path = tmp_path / "sound.flac"
    second = flac_bytes(path, tone(10_000, rate, channels), rate, subtype)
    first = flac_bytes(path, tone(10_000, RATE, 2), RATE, "PCM_16")
    path.write_bytes(first + (second if headers else frames_of(second)))
    try:
        found, reader = read(path)
    except HtmdsepError as error:
        assert str(error).startswith("the stream changes from")
    else:
        told = "its header announces 10000 frames, it holds"
        if len(found) == 10_000:  # FFmpeg cannot decode what follows
            told = "damaged or cut: what follows its announced end could not be decoded"
        assert reader.notes[-1].startswith(told)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_truncated_files_are_read_with_a_note(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sound.{ending}"
    soundfile.write(path, tone(RATE, RATE, 2), RATE, "PCM_16")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, reader = read(path)
    assert len(found) == 22_044 if ending == "wav" else 0 < len(found) < RATE
    assert reader.notes == [f"truncated: its header announces 44100 frames, it holds {len(found)}"]


def with_data_size(path: Path, size: int) -> None:
    """Let a WAV's header announce another number of bytes."""
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[4:8] = min(size + 36, 2**32 - 1).to_bytes(4, "little")
    data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("size", SIZES_UNKNOWN)
def test_wav_from_a_pipe_announces_nothing_wrong(tmp_path: Path, size: int) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1_000, RATE), RATE)
    with_data_size(path, size)
    with open_audio(path) as reader:
        assert reader.frames == (1_000 if size else 0)
    if size:  # libsndfile reads nothing where the header says so
        found, reader = read(path)
        assert len(found) == 1_000 and reader.notes == []


@pytest.mark.parametrize("behind", [b"", b"LIST\x04\0\0\0INFO", bytes(1_000), b"id3 \1\0\0\0xy"])
def test_a_wav_whose_header_announces_less_gets_a_note(tmp_path: Path, behind: bytes) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1_000, RATE), RATE)
    path.write_bytes(path.read_bytes() + behind)
    assert read(path)[1].notes == []
    with_data_size(path, 800)
    found, reader = read(path)
    assert len(found) == 400
    assert len(reader.notes) == 1 and "announces less than the file holds" in reader.notes[0]


def test_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = write_av(tmp_path / "sound.m4a", tone(RATE, RATE, 2), RATE, "aac")
    # Neither the sample entry's name nor its descriptor is of any codec.
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"free"))
    with pytest.raises(HtmdsepError, match="of a kind unknown here; convert it"):
        read(path)


@pytest.mark.parametrize("places", [1, 40])
def test_damage_inside_an_mp3_is_silent_and_told(
    tmp_path: Path, rng: np.random.Generator, places: int
) -> None:
    path = tmp_path / "sound.mp3"
    signal = tone(20 * RATE, RATE)
    soundfile.write(path, signal, RATE)
    data = bytearray(path.read_bytes())
    for start in np.linspace(0, len(data), places + 2, dtype=int)[1:-1]:
        data[start : start + 400] = rng.bytes(400)
    path.write_bytes(data)
    found, reader = read(path)
    assert abs(len(found) - len(signal)) < 0.1 * RATE * places
    assert re.match(
        r"damaged: silence stands for what is lost, \d+\.\d+ s in all, the first at \d",
        reader.notes[0],
    )


def test_a_cut_mp3_is_read_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    soundfile.write(path, tone(20 * RATE, RATE), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, reader = read(path)
    assert 9 * RATE < len(found) < 11 * RATE
    assert [note.partition(", it holds")[0] for note in reader.notes] == [
        "it may be cut: its header announces 20.00 s"
    ]


def test_what_lies_behind_a_whole_mp3_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    soundfile.write(path, tone(2 * RATE, RATE), RATE)
    whole = read(path)[0]
    path.write_bytes(path.read_bytes() + b"\x55" * 2_000)
    found, reader = read(path)
    assert abs(len(found) - len(whole)) < 2_304  # where the padding lies is no longer known
    assert reader.notes == []


@pytest.mark.parametrize("codec", ["alac", "aac"])
def test_a_file_whose_end_was_never_written_is_told(tmp_path: Path, codec: str) -> None:
    """As downloads leave it that reserve a file's place first."""
    path = write_av(tmp_path / "sound.m4a", tone(4 * RATE, RATE, 2), RATE, codec)
    with av.open(path) as container:
        places = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for place, size in places[len(places) // 2 :]:
        assert place is not None
        data[place : place + size] = bytes(size)
    path.write_bytes(data)
    found, reader = read(path)
    assert abs(len(found) - 2 * RATE) < 0.2 * RATE
    assert "it may be cut: its header announces 4.0" in reader.notes[-1]


def test_chained_ogg_streams_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "sound.ogg"
    soundfile.write(path, tone(RATE, RATE), RATE)
    once = path.read_bytes()
    single = read(path)[0]
    path.write_bytes(once + once)
    double = read(path)[0]
    assert len(single) == RATE
    assert abs(len(double) - 2 * RATE) <= 2_048  # Vorbis blocks overlap where the streams meet
    soundfile.write(path, tone(RATE, RATE, 2), RATE)
    path.write_bytes(once + path.read_bytes())
    with pytest.raises(HtmdsepError, match=r"changes from|damaged|decoded"):
        read(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "sound.wav"
    signal = tone(2 * RATE, RATE, 2)
    signal[RATE, 1] = bad
    soundfile.write(path, signal, RATE, "FLOAT")
    with pytest.raises(HtmdsepError, match=r"not finite \(NaN or infinity\) at 1.000 s"):
        read(path)


def write_zeros(frames: int, channels: int, path: Path) -> None:
    soundfile.write(path, np.zeros((frames, channels)), RATE, format="WAV")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (
            lambda path: path.write_text("text, no sound\n" * 50),
            "no audio that can be decoded|no audio stream",
        ),
        (
            lambda path: path.write_bytes(b"RIFF\x00\x00\x00\x00WAVEjunk"),
            "no audio that can be|no audio stream",
        ),
        (Path.mkdir, "it is a folder"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda _: None, "no such file"),
        (partial(write_zeros, 0, 1), "it holds no audio"),
        (partial(write_zeros, 10, 9), "it has 9 channels; mix it down to at most 8"),
    ],
)
@pytest.mark.parametrize("ending", ["mp3", "wav", "raw"])
def test_what_cannot_be_read_says_why(
    tmp_path: Path, make: object, message: str, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"bad.{ending}"
    assert callable(make)
    make(path)
    with pytest.raises(HtmdsepError, match=message):
        read(path)
    assert capfd.readouterr() == ("", "")  # decoders keep quiet, too


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "silent.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), "yuvj420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(HtmdsepError, match="it holds no audio stream"):
        read(path)


def test_tags(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    with soundfile.SoundFile(path, "w", RATE, 1) as sound:
        sound.title, sound.artist = "Übung", "Chœur"
        sound.write(np.zeros(100))
    assert read(path)[1].header.tags.items() >= {"title": "Übung", "artist": "Chœur"}.items()
    signal = tone(RATE, RATE, 2)
    path = write_av(tmp_path / "sound.m4a", signal, RATE, "aac", title="Übung", track="3")
    assert read(path)[1].header.tags.items() >= {"title": "Übung", "tracknumber": "3"}.items()
