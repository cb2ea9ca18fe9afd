"""A song's tags and cover as the bytes that files hold, and where in a file they go.

FFmpeg knows some tags of each format, and libsndfile fewer still: ID3v2.4, Vorbis comments and the
boxes of an MP4 are written here. Where they come before the sound, room was left for them.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Mapping, Sequence
from typing import IO

from htmdsep.audio.covers import MIME, Cover
from htmdsep.audio.ogg import replace_comments
from htmdsep.audio.output import OutputFormat
from htmdsep.audio.stem_file import stem_manifest
from htmdsep.audio.tags import (
    FREEFORM,
    ID3_HEADER_LENGTH,
    TAGS,
    kept_tags,
    mp4_tags,
    without_replaygain,
)
from htmdsep.options import STEM_FILE

UTF8 = b"\3"  # of ID3's encodings
NO_LANGUAGE = b"XXX"
FRONT_COVER = 3
COMMENT_BLOCK, PICTURE_BLOCK, PADDING_BLOCK, LAST_BLOCK = 4, 6, 1, 0x80  # RFC 9639, section 8.1
FIRST_BLOCK_END = 42  # behind "fLaC" and STREAMINFO
BLOCK_LIMIT = 1 << 24  # bytes; a FLAC's metadata are one block of padding at first
RIFF_LIMIT = 1 << 32  # bytes
TAG_LIST = (b"moov", b"udta", b"meta", b"ilst")  # where an MP4's tags are


def header_room(output: OutputFormat) -> int:
    """Return how many bytes `write_metadata` needs FFmpeg to leave before the sound."""
    if output.file_format == "mp3":
        return max(0, len(id3_tag(output.tags, output.cover)) - ID3_HEADER_LENGTH)
    return len(flac_blocks(output.tags, output.cover)) if output.file_format == "flac" else 0


def write_metadata(file: IO[bytes], output: OutputFormat) -> None:
    """Write a song's tags and cover into a file that is complete but for them.

    Of an MP4 those tags are there already that FFmpeg knows.
    """
    tags, cover, file_format = output.tags, output.cover, output.file_format
    if file_format == "mp3":
        file.seek(0)
        file.write(id3_tag(tags, cover))
    elif file_format == "flac":
        fill_flac(file, flac_blocks(tags, cover))
    elif file_format == "wav":
        append_id3(file, id3_tag(tags, cover))
    elif file_format == "ogg":
        replace_comments(file, vorbis_comments(tags, cover))
    elif file_format == "opus":  # which should hold no ReplayGain (RFC 7845, section 5.2.1)
        replace_comments(file, vorbis_comments(without_replaygain(tags), cover))
    else:
        append_boxes(file, TAG_LIST, mp4_boxes(tags, cover))
    if file_format == STEM_FILE:
        append_boxes(file, TAG_LIST[:2], box("stem", stem_manifest()))


def id3_tag(tags: Mapping[str, str], cover: Cover | None) -> bytes:
    """Return an ID3v2.4 tag, empty where there is nothing to tell."""
    frames = b""
    for name, text in kept_tags(tags).items():
        kind = TAGS[name].id3
        head = {"TXXX": name.upper().encode() + b"\0", "COMM": NO_LANGUAGE + b"\0"}
        head["USLT"] = head["COMM"]
        frames += _frame(kind, UTF8 + head.get(kind, b"") + text.encode())
    if cover is not None:
        kind_of_picture = bytes([FRONT_COVER])
        mime = MIME[cover.codec].encode()
        frames += _frame("APIC", UTF8 + mime + b"\0" + kind_of_picture + b"\0" + cover.data)
    return b"ID3\4\0\0" + _seven_bits(len(frames)) + frames if frames else b""


def _frame(kind: str, content: bytes) -> bytes:
    return kind.encode() + _seven_bits(len(content)) + bytes(2) + content


def _seven_bits(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def append_id3(file: IO[bytes], tag: bytes) -> None:
    """Append an ID3 tag to a RIFF or RF64 as a chunk; one that has no room for it is left."""
    end = file.seek(0, os.SEEK_END)
    chunk = bytes(end % 2) + b"id3 " + struct.pack("<I", len(tag)) + tag + bytes(len(tag) % 2)
    riff_bytes = end + len(chunk) - 8
    file.seek(0)
    is_long = file.read(4) == b"RF64"
    if not tag or (riff_bytes >= RIFF_LIMIT and not is_long):
        return
    file.seek(20 if is_long else 4)
    file.write(struct.pack("<Q" if is_long else "<I", riff_bytes))
    file.seek(0, os.SEEK_END)
    file.write(chunk)


def vorbis_comments(tags: Mapping[str, str], cover: Cover | None = None) -> bytes:
    """Return tags as FLAC and Ogg hold them, and a cover as Ogg does."""
    entries = [f"{name.upper()}={text}".encode() for name, text in kept_tags(tags).items()]
    if cover is not None:
        entries.append(b"METADATA_BLOCK_PICTURE=" + base64.b64encode(picture(cover)))
    count = struct.pack("<I", len(entries))
    return _sized(b"htmdsep") + count + b"".join(map(_sized, entries))


def _sized(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def picture(cover: Cover) -> bytes:
    """Return a cover as FLAC and, in letters, Ogg hold it (RFC 9639, section 8.8)."""
    mime = MIME[cover.codec].encode()
    content = struct.pack(">II", FRONT_COVER, len(mime)) + mime
    content += struct.pack(">IIIIII", 0, cover.width, cover.height, 24, 0, len(cover.data))
    return content + cover.data


def flac_blocks(tags: Mapping[str, str], cover: Cover | None) -> bytes:
    """Return a FLAC's metadata blocks behind the first."""
    blocks = _block(COMMENT_BLOCK, vorbis_comments(tags))
    return blocks if cover is None else blocks + _block(PICTURE_BLOCK, picture(cover))


def _block(kind: int, content: bytes) -> bytes:
    return struct.pack(">I", kind << 24 | len(content)) + content


def fill_flac(file: IO[bytes], blocks: bytes) -> None:
    """Write metadata blocks over a FLAC's own and its padding, all but the first."""
    end, kind = 4, 0
    while not kind & LAST_BLOCK:
        file.seek(end)
        (head,) = struct.unpack(">I", file.read(4))
        kind, end = head >> 24, end + 4 + head % BLOCK_LIMIT
    rest = bytes(end - FIRST_BLOCK_END - len(blocks) - 4)
    file.seek(FIRST_BLOCK_END)
    file.write(blocks + _block(LAST_BLOCK | PADDING_BLOCK, rest))


def mp4_boxes(tags: Mapping[str, str], cover: Cover | None) -> bytes:
    """Return the cover, and the tags for which an MP4 has no box of their own, as boxes."""
    boxes = b""
    if cover is not None:
        kind = 13 if cover.codec == "mjpeg" else 14
        boxes = box("covr", box("data", struct.pack(">II", kind, 0) + cover.data))
    for name, text in mp4_tags(tags).items():
        if name.startswith(FREEFORM):
            parts = box("mean", bytes(4) + b"com.apple.iTunes")
            parts += box("name", bytes(4) + name.removeprefix(FREEFORM).encode())
            boxes += box(FREEFORM, parts + box("data", struct.pack(">II", 1, 0) + text.encode()))
    return boxes


def box(kind: str, content: bytes) -> bytes:
    """Return a box of an MP4."""
    return struct.pack(">I", 8 + len(content)) + kind.encode() + content


def append_boxes(file: IO[bytes], place: Sequence[bytes], boxes: bytes) -> None:
    """Append boxes to an MP4 within the last of `place`.

    Each of these ends where the one around it does, and the first where the file does, as FFmpeg
    writes them.
    """
    start, end = 0, file.seek(0, os.SEEK_END)
    for kind in place:
        found = b""
        while found != kind:
            file.seek(start)
            size, found, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            start += long_size if size == 1 else size
        assert start == end, f"{kind!r} is not the last box"
        start -= size
        file.seek(start)
        file.write(struct.pack(">I", size + len(boxes)))
        start += 12 if kind == b"meta" else 8
    file.seek(0, os.SEEK_END)
    file.write(boxes)
