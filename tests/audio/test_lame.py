"""The LAME header: damage to it is told, wherever it is, and a whole one never."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from htmdsep.audio.encoders import open_encoded
from htmdsep.audio.lame import is_whole_header
from htmdsep.audio.output import OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.tags import id3_length
from tests.sounds import tone

FRAMES = 20_000


def write_mp3(path: Path, rate: int, channels: int, by: str) -> bytes:
    """Return an MP3 by this package, or by FFmpeg's own muxer."""
    signal = tone(FRAMES, rate, channels)
    if by == "htmdsep":
        output = OutputFormat("mp3", "FLOAT", rate, channels, None, "clamp", {}, None, 64)
        with open_encoded(path, output) as writer:
            writer.write(signal)
        return path.read_bytes()
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(signal.T), "fltp", layout)
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path.read_bytes()


def notes_of(path: Path, data: bytes | bytearray) -> list[str]:
    path.write_bytes(data)
    with open_audio(path) as reader:
        for _ in reader.blocks():
            pass
    return reader.notes


@pytest.mark.parametrize("by", ["htmdsep", "ffmpeg"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_a_damaged_header_is_told(tmp_path: Path, rate: int, channels: int, by: str) -> None:
    path = tmp_path / "a.mp3"
    data = write_mp3(path, rate, channels, by)
    assert notes_of(path, data) == []
    start = id3_length(data[:10])
    place = data.find(b"Info") - start
    for byte in [0, 1, 2, *range(place, place + 4), *range(place + 16, place + 156, 7)]:
        torn = bytearray(data)
        torn[start + byte] ^= 0x5A
        assert any("its beginning is damaged" in note for note in notes_of(path, torn)), byte
    for first, last in ((0, place + 156), (0, 30), (4, place + 10), (place, place + 156)):
        torn = bytearray(data)
        torn[start + first : start + last] = bytes(last - first)
        assert any("its beginning is damaged" in note for note in notes_of(path, torn)), first
    for lost in (1, 20, 200):  # bytes
        assert notes_of(path, data[:start] + data[start + lost :]), lost


def test_a_tag_that_is_too_long_is_told(tmp_path: Path) -> None:
    data = bytearray(write_mp3(tmp_path / "a.mp3", 48_000, 2, "ffmpeg"))
    assert data[:3] == b"ID3"
    data[9] ^= 0x40
    data[8] ^= 0x02
    (note,) = notes_of(tmp_path / "a.mp3", data)
    assert "its beginning is damaged" in note


def test_a_header_without_a_checksum_is_trusted(tmp_path: Path) -> None:
    """As of Xing's encoder, which tells no delay, and of old FFmpegs, which told no checksum."""
    data = write_mp3(tmp_path / "a.mp3", 44_100, 2, "ffmpeg")
    start = id3_length(data[:10])
    end = data.find(b"\xff\xfb", start + 2)
    frame = bytearray(data[start:end])
    assert is_whole_header(bytes(frame))
    frame[36 + 154 : 36 + 156] = bytes(2)
    assert is_whole_header(bytes(frame))
    frame[36 + 141 : 36 + 144] = bytes(3)
    assert not is_whole_header(bytes(frame))
    frame[36 + 120 :] = bytes(len(frame) - 36 - 120)
    assert is_whole_header(bytes(frame))
