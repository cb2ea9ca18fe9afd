"""What the header of a WAV says, beside what the file holds."""

from __future__ import annotations

import struct
from typing import BinaryIO

# Data sizes that are left in the header by who writes into a pipe: most programs, SoX, arecord.
SIZES_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 0x80000000)
HEADER = struct.Struct("<4sI")  # of a chunk: its name, and the bytes that follow
PRINTABLE = range(0x20, 0x7F)  # what chunks' names are made of


def holds_more(file: BinaryIO) -> bool:
    """Tell whether something other than chunks and zeros follows the data of a RIFF file.

    Then its header announces too little: the recorder crashed, or the size outgrew its 32 bits.
    """
    end = file.seek(0, 2)
    position = 12  # after the first header and the form's name
    data_seen = False
    while position + HEADER.size <= end:
        file.seek(position)
        name, size = HEADER.unpack(file.read(HEADER.size))
        behind = position + HEADER.size + size + size % 2
        if data_seen and not (behind <= end + 1 and all(letter in PRINTABLE for letter in name)):
            file.seek(position)
            return not _is_empty(file)
        if name == b"data":
            if size in SIZES_UNKNOWN:
                return False
            data_seen = True
        position = behind
    return False


def _is_empty(file: BinaryIO) -> bool:
    """Tell whether the rest of a file is zeros: silence, or a block filled up."""
    while block := file.read(1 << 16):
        if any(block):
            return False
    return True
