"""What LAME does to the level of an MP3, and FFmpeg to the length in its LAME header, undone."""

from __future__ import annotations

from typing import IO

from htmdsep.audio.tags import ID3_HEADER_LENGTH, id3_length

# kbit/s that MPEG-1 has, for 32 kHz and above; below there are up to 160, and 64 below 16 kHz
KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
# LAME 3.100 turns sound down at all other bit rates to 0.95 (measured)
LEVELS = {192: 0.97, 224: 0.98, 256: 1.0, 320: 1.0}
OTHER_LEVEL = 0.95
# Places in a LAME header, in bytes from its first, and what its checksum covers of the frame
PACKETS, TRIMMED, CHECKSUM = 8, 141, 154
CHECKED = 190


def possible_kilobits(wanted: int, sample_rate: int) -> int:
    """Return the bit rate (kbit/s) next to the one wanted that there is at a sample rate (Hz)."""
    most = 320 if sample_rate >= 32_000 else 160 if sample_rate >= 16_000 else 64
    return min((one for one in KILOBITS if one <= most), key=lambda one: abs(one - wanted))


def lame_level(kilobits: int) -> float:
    """Return the factor by which LAME turns sound down at a bit rate."""
    return LEVELS.get(kilobits, OTHER_LEVEL)


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
    head[place + CHECKSUM : place + CHECKSUM + 2] = bytes(2)  # while it is computed
    checksum = _crc16(head[:CHECKED])
    head[place + CHECKSUM : place + CHECKSUM + 2] = checksum.to_bytes(2, "big")
    file.seek(start)
    file.write(head)


def _crc16(data: bytearray) -> int:
    """Return the checksum of a LAME header: CRC-16 (ANSI), least significant bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
