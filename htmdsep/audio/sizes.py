"""How many bytes of audio the header of an uncompressed file announces, and how many it holds."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from htmdsep.audio.parts import Part
from htmdsep.audio.tags import ID3V1_LENGTH

# Data sizes that are left in the header by who writes into a pipe: most programs, SoX, arecord.
SIZES_UNKNOWN = (0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0x80000000)
PRINTABLE = range(0x20, 0x7F)  # what chunks' names are made of
AUDIO_CHUNKS = (b"RIFF", b"RF64", b"FORM", b"data", b"SSND", b"caff")  # behind the data: more audio
AU_HEADER = struct.Struct(">4sII")  # magic, where the data begin, their bytes


class Form(NamedTuple):
    """How a kind of file is made of chunks."""

    first: int  # byte at which its first chunk begins
    header: struct.Struct  # a chunk's name and size
    data: bytes  # the name of the chunk that holds the audio
    multiple: int = 2  # of bytes that chunks are filled up to
    inside: int = 0  # bytes of the data chunk before the audio
    counts_header: bool = False  # whether a chunk's size counts its header


FORMS = {
    b"RIFF": Form(12, struct.Struct("<4sI"), b"data"),
    b"RIFX": Form(12, struct.Struct(">4sI"), b"data"),
    b"FORM": Form(12, struct.Struct(">4sI"), b"SSND", inside=8),
    b"caff": Form(8, struct.Struct(">4sq"), b"data", multiple=1, inside=4),
    b"riff": Form(40, struct.Struct("<4s12xq"), b"data", multiple=8, counts_header=True),
}


class DataSize(NamedTuple):
    """Bytes of audio."""

    announced: int
    held: int
    left: int = 0  # bytes behind the audio that are neither chunks nor zeros

    def notes(self) -> list[str]:
        """Tell of more than the header announces.

        The recorder crashed, the size outgrew its 32 bits, or another file was joined to this.
        """
        if not self.left:
            return []
        if not self.announced:
            return ["its header announces no audio; it was read to its end"]
        return [
            f"its header announces less than the file holds: {self.left} bytes follow that are "
            "not read; mend the header, or split the file, to have all of it"
        ]


def data_size(file: Part, magic: bytes) -> DataSize | None:
    """Compare sizes in a file of this magic; None where it announces none."""
    end = file.seek(0, os.SEEK_END)
    end -= ID3V1_LENGTH if _ends_in_id3v1(file, end) else 0
    if magic == b".snd":
        file.seek(0)
        _, start, size = AU_HEADER.unpack(_read(file, AU_HEADER.size))
        return None if size in SIZES_UNKNOWN else _compared(file, start, size, end)
    form = FORMS.get(magic)
    if form is None:
        return None
    found: DataSize | None = None
    position = form.first
    while position + form.header.size <= end:
        file.seek(position)
        name, size = form.header.unpack(_read(file, form.header.size))
        size -= form.header.size if form.counts_header else 0
        start = position + form.header.size
        behind = start + size + -size % form.multiple
        if found is not None and not _is_chunk(name, size >= 0 and behind <= end + 1):
            return found._replace(left=_left(file, position, end))
        if size < 0 or (name == form.data and size in SIZES_UNKNOWN):
            return None
        if name == form.data:
            found = _compared(file, start + form.inside, size - form.inside, end)._replace(left=0)
        position = behind
    return found and found._replace(left=_left(file, position, end))


def _compared(file: Part, start: int, size: int, end: int) -> DataSize:
    return DataSize(size, max(0, min(size, end - start)), _left(file, start + size, end))


def _is_chunk(name: bytes, fits: bool) -> bool:
    is_name = all(letter in PRINTABLE for letter in name)
    return fits and is_name and name not in AUDIO_CHUNKS


def _ends_in_id3v1(file: Part, end: int) -> bool:
    file.seek(max(0, end - ID3V1_LENGTH))
    return end > ID3V1_LENGTH and file.read(3) == b"TAG"


def _left(file: Part, position: int, end: int) -> int:
    """Return how many bytes follow, 0 where all are zeros: silence, or a block filled up."""
    file.seek(position)
    while file.tell() < end and (block := file.read(min(1 << 16, end - file.tell()))):
        if any(block):
            return end - position
    return 0


def _read(file: Part, size: int) -> bytes:
    return (file.read(size) or b"").ljust(size, b"\0")
