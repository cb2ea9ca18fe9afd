"""Cover art: a song's picture, found in its file, and put into FLACs, which libsndfile cannot."""

from __future__ import annotations

import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import av
from av.stream import Disposition

from htmdsep.audio.ffmpeg import open_container
from htmdsep.audio.parts import whole
from htmdsep.errors import HtmdsepError
from htmdsep.options import FileFormat

COVERED: tuple[FileFormat, ...] = ("flac", "mp3", "m4a")  # formats whose stems get the cover
MIME = {"mjpeg": "image/jpeg", "png": "image/png"}  # by FFmpeg's names; others are left out
FRONT_COVER, PICTURE_BLOCK = 3, 6  # of RFC 9639, sections 8.8 and 8.1
BLOCK_LIMIT = 1 << 24  # bytes of a FLAC's metadata block
FIRST_BLOCK_END = 42  # behind "fLaC" and STREAMINFO
CHUNK = 1 << 20


class Cover(NamedTuple):
    """A picture as it is stored."""

    data: bytes
    codec: str  # one of MIME
    width: int  # pixels
    height: int


def read_cover(path: Path) -> Cover | None:
    """Return the first picture that is attached to a song, if it is a JPEG or PNG."""
    with ExitStack() as stack:
        file = whole(stack.enter_context(path.open("rb")))
        stack.enter_context(suppress(HtmdsepError, av.FFmpegError))  # unknown, or damaged there
        container = open_container(file, stack)
        for stream in container.streams.video:
            codec = stream.codec_context
            if stream.disposition & Disposition.attached_pic and codec and codec.name in MIME:
                data = bytes(next(container.demux(stream)))
                is_sound = data and codec.width and codec.height
                return Cover(data, codec.name, codec.width, codec.height) if is_sound else None
    return None


def attach_cover(container: av.container.OutputContainer, cover: Cover) -> None:
    """Put a picture into a file that FFmpeg writes, before any sound."""
    stream = container.add_mux_stream(cover.codec, width=cover.width, height=cover.height)
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(cover.data)
    packet.stream, packet.pts, packet.dts = stream, 0, 0
    container.mux(packet)


def insert_cover(path: Path, cover: Cover) -> None:
    """Put a picture behind the first metadata block of a FLAC file; one too large is left out."""
    mime = MIME[cover.codec].encode()
    content = struct.pack(">II", FRONT_COVER, len(mime)) + mime
    content += struct.pack(">IIIIII", 0, cover.width, cover.height, 24, 0, len(cover.data))
    content += cover.data
    if len(content) >= BLOCK_LIMIT:
        return
    with path.open("r+b") as file:
        file.seek(4)
        kind = file.read(1)[0]
        block = struct.pack(">I", (kind & 0x80 | PICTURE_BLOCK) << 24 | len(content)) + content
        position = file.seek(0, 2)
        while position > FIRST_BLOCK_END:  # from the end on, so that nothing is lost
            start = max(FIRST_BLOCK_END, position - CHUNK)
            file.seek(start)
            moved = file.read(position - start)
            file.seek(start + len(block))
            file.write(moved)
            position = start
        file.seek(FIRST_BLOCK_END)
        file.write(block)
        file.seek(4)
        file.write(bytes([kind & 0x7F]))  # the last block is another now
