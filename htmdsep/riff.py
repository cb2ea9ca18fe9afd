"""What the header of a WAV says, beside what the file holds."""

from __future__ import annotations

import struct

from htmdsep.parts import Source

# Data sizes that are left in the header by who writes into a pipe: most programs, SoX, arecord.
SIZES_UNKNOWN = (0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0x80000000)
HEADER = struct.Struct("<4sI")  # of a chunk: its name, and the bytes that follow
PRINTABLE = range(0x20, 0x7F)  # what chunks' names are made of
AUDIO_CHUNKS = (b"RIFF", b"RF64", b"data")  # behind the data they are more audio
ID3V1_LENGTH = 128


def data_notes(file: Source) -> list[str]:
    """Tell of what follows the data of a RIFF file and is neither chunks nor zeros.

    Where there is some, its header announces too little (the recorder crashed, the size outgrew
    its 32 bits), or another file was joined to it.
    """
    end = file.seek(0, 2)
    end -= ID3V1_LENGTH if _ends_in_id3v1(file, end) else 0
    position = 12  # after the first header and the form's name
    data_size: int | None = None
    while position + HEADER.size <= end:
        file.seek(position)
        name, size = HEADER.unpack(file.read(HEADER.size) or b"")
        behind = position + HEADER.size + size + size % 2
        if data_size is not None and not _is_chunk(name, behind <= end + 1):
            file.seek(position)
            return [] if _is_empty(file, end) else [_told(end - position, data_size)]
        if name == b"data":
            if size in SIZES_UNKNOWN:
                return []
            data_size = size
        position = behind
    return []


def _told(left: int, data_size: int) -> str:
    if data_size == 0:
        return "its header announces no audio; it was read to its end"
    return (
        f"its header announces less than the file holds: {left} bytes follow that are not read; "
        "mend the header, or split the file, to have all of it"
    )


def _is_chunk(name: bytes, fits: bool) -> bool:
    is_name = all(letter in PRINTABLE for letter in name)
    return fits and is_name and name not in AUDIO_CHUNKS


def _ends_in_id3v1(file: Source, end: int) -> bool:
    file.seek(max(0, end - ID3V1_LENGTH))
    return end > ID3V1_LENGTH and file.read(3) == b"TAG"


def _is_empty(file: Source, end: int) -> bool:
    """Tell whether the rest of a file is zeros: silence, or a block filled up."""
    while file.tell() < end and (block := file.read(min(1 << 16, end - file.tell()))):
        if any(block):
            return False
    return True
