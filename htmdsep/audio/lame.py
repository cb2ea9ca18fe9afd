"""The LAME header of an MP3: whether it is whole, and what is wrong in FFmpeg's, undone."""

from __future__ import annotations

import re
from typing import IO

from htmdsep.audio.tags import ID3_HEADER_LENGTH, id3_length

# kbit/s that MPEG-1 has, for 32 kHz and above; below there are up to 160, and 64 below 16 kHz
KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
LOW_KILOBITS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of MPEG-2
RATES = (44_100, 48_000, 32_000)  # Hz
DIVISORS = {3: 1, 2: 2, 0: 4}  # of the rates, by a header's bits: MPEG-1, MPEG-2, MPEG-2.5
# LAME 3.100 turns sound down at all other bit rates to 0.95 (measured)
LEVELS = {192: 0.97, 224: 0.98, 256: 1.0, 320: 1.0}
OTHER_LEVEL = 0.95
# Where the header stands in its frame: stereo of MPEG-1, mono of it or stereo of MPEG-2, and mono
PLACES = (36, 21, 13)
MAGIC = (b"Xing", b"Info")
ENCODERS = (b"LAME", b"Lavf", b"Lavc")  # in whose headers FFmpeg looks for a delay
# Bytes before the place that are all empty, as not even silence is; the names there and behind
REMAINS = re.compile(
    rb"\xff[\xe2-\xff]..(?:\0{9}|(?:.{9}|.{17}|.{32})(?:Xing|Info|.{120}(?:LAME|Lav[fc])))",
    re.DOTALL,
)
# Places in a LAME header, in bytes from its first, and what FFmpeg's checksum covers of the frame
PACKETS, TABLE, VERSION, TRIMMED, CHECKSUM = 8, 16, 120, 141, 154
CHECKED = 190
# By as much a stream without its header, or with another's, may be off: what its 12 bits can hold,
# what a decoder is late by itself, and the header's own frame
MOST_FRAMES_OFF = 4_095 + 529 + 1_152


def possible_kilobits(wanted: int, sample_rate: int) -> int:
    """Return the bit rate (kbit/s) next to the one wanted that there is at a sample rate (Hz)."""
    most = 320 if sample_rate >= 32_000 else 160 if sample_rate >= 16_000 else 64
    return min((one for one in KILOBITS if one <= most), key=lambda one: abs(one - wanted))


def lame_level(kilobits: int) -> float:
    """Return the factor by which LAME turns sound down at a bit rate."""
    return LEVELS.get(kilobits, OTHER_LEVEL)


def is_whole_header(frame: bytes) -> bool:
    """Tell whether what stands before an MP3's first packet is a header frame that can be trusted.

    A header that has no checksum is trusted, as those of other encoders are.
    """
    place = next((one for one in PLACES if frame[one : one + 4] in MAGIC), None)
    if len(frame) != _frame_length(frame) or (place is None and frame[36:40] != b"VBRI"):
        return False
    if place is None:
        return True
    table = frame[place + TABLE : place + TABLE + 100]
    if frame[place + 7] & 4 and (not any(table) or list(table) != sorted(table)):
        return False
    stored = frame[place + CHECKSUM : place + CHECKSUM + 2]
    if stored in (b"", bytes(2)):
        version = frame[place + VERSION : place + VERSION + 4]
        return version not in ENCODERS or any(frame[place + TRIMMED : place + TRIMMED + 3])
    by_lame = _crc16(frame[: place + CHECKSUM])
    unsigned = frame[: place + CHECKSUM] + bytes(2) + frame[place + CHECKSUM + 2 :]
    by_ffmpeg = _crc16(unsigned.ljust(CHECKED, b"\0")[:CHECKED])
    return int.from_bytes(stored, "big") in (by_lame, by_ffmpeg)


def holds_header(data: bytes) -> bool:
    """Tell whether something that was not taken for a header frame has what is left of one."""
    return REMAINS.search(data) is not None


def _frame_length(head: bytes) -> int:
    """Return the bytes of a frame of layer III, by its first four; 0 where they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in DIVISORS or not 1 <= bits <= 14 or rate == 3:
        return 0
    kilobits = (KILOBITS if version == 3 else LOW_KILOBITS)[bits - 1]
    samples = 1_152 if version == 3 else 576
    return samples // 8 * 1_000 * kilobits * DIVISORS[version] // RATES[rate] + (head[2] >> 1 & 1)


def set_padding(file: IO[bytes], frames: int, packet_length: int) -> None:
    """Write the padding behind so many frames into an MP3's LAME header.

    FFmpeg counts only what the last packet has of it, and padding may begin in the one before.
    """
    file.seek(0)
    start = id3_length(file.read(ID3_HEADER_LENGTH))
    file.seek(start)
    head = bytearray(file.read(CHECKED))
    place = head.find(b"Info")
    packets = int.from_bytes(head[place + PACKETS : place + PACKETS + 4], "big")
    delay = int.from_bytes(head[place + TRIMMED : place + TRIMMED + 3], "big") >> 12
    trimmed = delay << 12 | packets * packet_length - delay - frames  # 12 bits each
    head[place + TRIMMED : place + TRIMMED + 3] = trimmed.to_bytes(3, "big")
    checksum = _crc16(head[: place + CHECKSUM])
    head[place + CHECKSUM : place + CHECKSUM + 2] = checksum.to_bytes(2, "big")
    file.seek(start)
    file.write(head)


def _crc16(data: bytes | bytearray) -> int:
    """Return the checksum of a LAME header: CRC-16 (ANSI), least significant bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
