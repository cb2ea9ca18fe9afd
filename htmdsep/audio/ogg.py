"""The pages of an Ogg file: where its songs begin, and whether all of each is there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from htmdsep.audio.parts import Part

MAGIC = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule, serial, number, CRC, lacing
FIRST, LAST = 2, 4  # flags of a page that begins or ends its stream
SEARCHED = 1 << 16  # bytes looked through at once for the next page
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page that is whole."""

    start: int  # byte of the file
    end: int
    flags: int
    serial: int
    number: int
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
            links.append(Link(page.content, [(page.start, page.start)]))
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
    _, _, flags, _, serial, number, checksum, segments = HEADER.unpack(head)
    lacing = file.read(segments) or b""
    content = file.read(sum(lacing)) or b""
    if len(lacing) < segments or len(content) < sum(lacing):
        return None
    if _checksum(head[:22] + bytes(4) + head[26:] + lacing + content) != checksum:
        return None
    end = start + HEADER.size + segments + len(content)
    return Page(start, end, flags, serial, number, content[:16])


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC-32: zlib's, with every bit order reversed, from 0 and not inverted."""
    found = zlib.crc32(data.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED_BITS), "big")
