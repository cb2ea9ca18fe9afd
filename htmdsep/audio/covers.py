"""Cover art: a song's picture, found in its file."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import av
from av.stream import Disposition

from htmdsep.audio.ffmpeg import open_container
from htmdsep.audio.parts import whole
from htmdsep.errors import HtmdsepError

MIME = {"mjpeg": "image/jpeg", "png": "image/png"}  # by FFmpeg's names; others are left out

MOST_BYTES = 14 << 20  # of a cover, that a FLAC has room for beside the tags


class Cover(NamedTuple):
    """A picture as it is stored."""

    data: bytes
    codec: str  # one of MIME
    width: int  # pixels
    height: int


def read_cover(path: Path) -> Cover | None:
    """Return the first picture attached to a song, if it is a JPEG or PNG of 14 MiB at most."""
    with ExitStack() as stack:
        file = whole(stack.enter_context(path.open("rb")))
        stack.enter_context(suppress(HtmdsepError, av.FFmpegError))  # unknown, or damaged there
        container = open_container(file, stack)
        for stream in container.streams.video:
            codec = stream.codec_context
            if stream.disposition & Disposition.attached_pic and codec and codec.name in MIME:
                data = bytes(next(container.demux(stream)))
                is_sound = 0 < len(data) <= MOST_BYTES and codec.width and codec.height
                return Cover(data, codec.name, codec.width, codec.height) if is_sound else None
    return None
