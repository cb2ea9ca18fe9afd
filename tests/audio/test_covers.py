"""Cover art goes where it can, byte by byte, and the sound beside it stays as it is."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from htmdsep.audio.covers import COVERED, Cover, insert_cover, read_cover
from htmdsep.audio.reader import open_audio
from htmdsep.audio.writer import OutputFormat, open_stem
from htmdsep.options import FileFormat, Subtype
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
    output = OutputFormat(file_format, subtype, RATE, 2, None, "clamp", tags, cover)
    with open_stem(path, output) as writer:
        writer.write(signal if is_float else np.rint(signal * 2**15).astype(np.int32))
    with open_audio(path) as reader:
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
    assert read_cover(tmp_path / "dressed") == (cover if file_format in COVERED else None)


def test_a_picture_too_large_for_a_flac_is_left_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(RATE, RATE), RATE)
    before = (tmp_path / "a.flac").read_bytes()
    insert_cover(tmp_path / "a.flac", Cover(bytes(1 << 24), "png", 1, 1))
    assert (tmp_path / "a.flac").read_bytes() == before
