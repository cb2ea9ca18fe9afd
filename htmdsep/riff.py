"""What the header of a WAV says, beside what the file holds."""

from __future__ import annotations

import struct
from typing import BinaryIO

# Data sizes that are left in the header by who writes into a pipe: most programs, SoX, arecord.
SIZES_UNKNOWN = (0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0x80000000)
HEADER = struct.Struct("<4sI")  # of a chunk: its name, and the bytes that follow
PRINTABLE = range(0x20, 0x7F)  # what chunks' names are made of
AUDIO_CHUNKS = (b"RIFF", b"RF64", b"data")  # behind the data they are more audio
ID3V1_LENGTH = 128


def bytes_left(file: BinaryIO) -> int:
    """Return how many bytes follow the data of a RIFF file that are neither chunks nor zeros.

    Where there are some its header announces too little (the recorder crashed, the size outgrew
    its 32 bits), or another file was joined to it.
    """
    end = file.seek(0, 2)
    end -= ID3V1_LENGTH if _ends_in_id3v1(file, end) else 0
    position = 12  # after the first header and the form's name
    data_seen = False
    while position + HEADER.size <= end:
        file.seek(position)
        name, size = HEADER.unpack(file.read(HEADER.size))
        behind = position + HEADER.size + size + size % 2
        if data_seen and not _is_chunk(name, behind <= end + 1):
            file.seek(position)
            return 0 if _is_empty(file, end) else end - position
        if name == b"data":
            if size in SIZES_UNKNOWN:
                return 0
            data_seen = True
        position = behind
    return 0


def _is_chunk(name: bytes, fits: bool) -> bool:
    is_name = all(letter in PRINTABLE for letter in name)
    return fits and is_name and name not in AUDIO_CHUNKS


def _ends_in_id3v1(file: BinaryIO, end: int) -> bool:
    file.seek(max(0, end - ID3V1_LENGTH))
    return end > ID3V1_LENGTH and file.read(3) == b"TAG"


def _is_empty(file: BinaryIO, end: int) -> bool:
    """Tell whether the rest of a file is zeros: silence, or a block filled up."""
    while file.tell() < end and (block := file.read(min(1 << 16, end - file.tell()))):
        if any(block):
            return False
    return True
