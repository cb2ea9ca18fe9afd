"""The pages of an Ogg file: where its songs begin, whether all of each is there, its comments."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from htmdsep.audio.parts import Part, whole

MAGIC = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule, serial, number, CRC, lacing
# Flags of a page that goes on with a packet, and that begins or ends its stream
CONTINUED, FIRST, LAST = 1, 2, 4
FULL = 255  # the most segments of a page, and bytes of a segment: with fewer its packet ends
NO_GRANULE = -1  # of a page in which no packet ends
SEARCHED = 1 << 16  # bytes looked through at once for the next page
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page that is whole."""

    start: int  # byte of the file
    end: int
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes  # the lengths of its segments
    content: bytes


@dataclass
class Link:
    """One song of a chain: the whole pages from one beginning to the next."""

    content: bytes  # of the first page: which codec it is
    stretches: list[tuple[int, int]]  # of the file, in bytes: pages without anything between
    streams: int = 1
    is_whole: bool = True  # no page is missing or damaged
    is_ended: bool = False  # whether a page says that it is the last


def read_links(file: Part) -> list[Link]:
    """Walk through all pages of a file and return its songs, in order."""
    links: list[Link] = []
    numbers: dict[int, int] = {}  # by serial, the page expected next
    is_beginning = False
    for page in _pages(file):
        if page.flags & FIRST and is_beginning:
            links[-1].streams += 1  # streams of one song begin together
        elif page.flags & FIRST:
            links.append(Link(page.content[:16], [(page.start, page.start)]))
        if not links:
            continue
        link = links[-1]
        is_beginning = bool(page.flags & FIRST)
        start, end = link.stretches[-1]
        if page.start == end:
            link.stretches[-1] = start, page.end
        else:
            link.stretches.append((page.start, page.end))
        is_next = is_beginning or numbers.get(page.serial) == page.number
        link.is_whole &= is_next and page.start == end
        link.is_ended |= bool(page.flags & LAST)
        numbers[page.serial] = page.number + 1
    return links


def _pages(file: Part) -> Iterator[Page]:
    """Yield every page whose checksum is right, looking for the next where one is not."""
    start = 0
    while (start := _find(file, start)) >= 0:
        page = _read_page(file, start)
        if page is None:
            start += 1
            continue
        yield page
        start = page.end


def _find(file: Part, start: int) -> int:
    """Return where the next page begins, -1 where none does."""
    while True:
        file.seek(start)
        data = file.read(SEARCHED) or b""
        found = data.find(MAGIC)
        if found >= 0:
            return start + found
        if len(data) < SEARCHED:
            return -1
        start += SEARCHED - len(MAGIC) + 1


def _read_page(file: Part, start: int) -> Page | None:
    file.seek(start)
    head = file.read(HEADER.size) or b""
    if len(head) < HEADER.size:
        return None
    _, _, flags, granule, serial, number, checksum, segments = HEADER.unpack(head)
    lacing = file.read(segments) or b""
    content = file.read(sum(lacing)) or b""
    if len(lacing) < segments or len(content) < sum(lacing):
        return None
    if _checksum(head[:22] + bytes(4) + head[26:] + lacing + content) != checksum:
        return None
    end = start + HEADER.size + segments + len(content)
    return Page(start, end, flags, granule, serial, number, lacing, content)


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC-32: zlib's, with every bit order reversed, from 0 and not inverted."""
    found = zlib.crc32(data.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED_BITS), "big")


def replace_comments(file: IO[bytes], comments: bytes) -> None:
    """Give a Vorbis or Opus file other comments, and a serial number that is always the same.

    The first of its headers is a page, and the last ends one. The file goes through a temporary
    one beside it.
    """
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        file.seek(0)
        for number, page in enumerate(_with_comments(_pages(whole(copy)), comments)):
            form = (MAGIC, 0, page.flags, page.granule, 1, number, 0, len(page.lacing))
            data = HEADER.pack(*form) + page.lacing + page.content
            file.write(data[:22] + _checksum(data).to_bytes(4, "little") + data[26:])
        file.truncate()


def _with_comments(pages: Iterator[Page], comments: bytes) -> Iterator[Page]:
    yield (first := next(pages))
    is_vorbis = first.content.startswith(b"\x01vorbis")
    packets = [b""]
    while len(packets) <= 1 + is_vorbis:  # the comments, Vorbis's setup, and one not begun
        page, place = next(pages), 0
        for size in page.lacing:
            packets[-1] += page.content[place : place + size]
            place += size
            packets += [b""] * (size < FULL)
    packets[0] = b"\x03vorbis" + comments + b"\x01" if is_vorbis else b"OpusTags" + comments
    sizes = map(len, packets[:-1])
    lacing = b"".join(b"\xff" * (size // FULL) + bytes([size % FULL]) for size in sizes)
    content, flags = b"".join(packets), 0
    for start in range(0, len(lacing), FULL):
        part = lacing[start : start + FULL]
        granule = 0 if min(part) < FULL else NO_GRANULE
        held = content[: sum(part)]
        yield page._replace(flags=flags, granule=granule, lacing=part, content=held)
        content, flags = content[len(held) :], CONTINUED * (part[-1] == FULL)
    yield from pages
