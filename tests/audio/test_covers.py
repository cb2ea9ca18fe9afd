"""Cover art goes into every format, byte by byte, and the sound beside it stays as it is."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from htmdsep.audio import covers
from htmdsep.audio.covers import Cover, read_cover
from htmdsep.audio.output import OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.stem_file import STREAMS
from htmdsep.audio.tags import LONGEST, TAGS
from htmdsep.audio.writer import open_stem
from htmdsep.options import STEM_FILE, FileFormat, Subtype
from tests.sounds import tone

RATE = 48_000


def png(side: int) -> Cover:
    """A grey square, larger than one chunk where its side is some hundreds: it is not packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = zlib.compress((b"\0" + b"\x80\x40\x20" * side) * side, 0)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return Cover(data, "png", side, side)


def stem(path: Path, file_format: FileFormat, cover: Cover | None) -> np.ndarray:
    is_float = file_format not in ("wav", "flac")
    subtype: Subtype = "FLOAT" if is_float else "PCM_16"
    tags = {"title": "a song", "album": "b"}
    signal = tone(2 * RATE, RATE, 2)
    if file_format == STEM_FILE:
        signal = np.tile(signal, len(STREAMS))
    output = OutputFormat(file_format, subtype, RATE, 2, None, "clamp", tags, cover)
    with open_stem(path, output) as writer:
        writer.write(signal if is_float else np.rint(signal * 2**15).astype(np.int16))
    with open_audio(path, stream=0) as reader:
        found = np.concatenate(list(reader.blocks()))
        assert reader.header.tags.items() >= tags.items() and not reader.notes
    return found


@pytest.mark.parametrize("file_format", get_args(FileFormat))
@pytest.mark.parametrize("side", [1, 16, 700])
def test_a_cover_is_carried_over(tmp_path: Path, file_format: FileFormat, side: int) -> None:
    cover = png(side)
    bare = stem(tmp_path / "bare", file_format, None)
    dressed = stem(tmp_path / "dressed", file_format, cover)
    assert np.array_equal(bare, dressed)
    assert read_cover(tmp_path / "bare") is None
    assert read_cover(tmp_path / "dressed") == cover


def test_a_picture_for_which_a_flac_has_no_room_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cover = png(16)
    stem(tmp_path / "song", "flac", cover)
    assert read_cover(tmp_path / "song") == cover
    monkeypatch.setattr(covers, "MOST_BYTES", len(cover.data) - 1)
    assert read_cover(tmp_path / "song") is None


def test_the_largest_picture_and_the_longest_tags_fit_into_a_flac(tmp_path: Path) -> None:
    cover = Cover(bytes(covers.MOST_BYTES), "png", 1, 1)
    tags = dict.fromkeys(TAGS, "\N{GRINNING FACE}" * 20_000)
    output = OutputFormat("flac", "PCM_16", RATE, 1, None, "clamp", tags, cover)
    with open_stem(tmp_path / "stem", output) as writer:
        writer.write(np.ones((10, 1), np.int16))
    with open_audio(tmp_path / "stem") as reader:
        assert sum(map(len, reader.blocks())) == 10
        assert set(map(len, reader.header.tags.values())) == {LONGEST}
