"""The times that FFmpeg tells of packets, frames and whole files, in frames of the stream."""

from __future__ import annotations

import re
import struct
import zlib
from collections import deque

import av

from htmdsep.audio.lame import MOST_FRAMES_OFF, holds_header, is_whole_header
from htmdsep.audio.parts import Part
from htmdsep.audio.tags import ID3_HEADER_LENGTH, id3_length

# Containers whose files announce no length: FFmpeg guesses one from the bit rate, or takes the
# last timestamp that is there.
GUESSED = frozenset({
    "aac", "ac3", "adts", "amr", "dts", "dtshd", "eac3", "loas", "mlp", "mpeg", "mpegts",
    "mpegvideo", "truehd",
})  # fmt: skip
FIRST_FRAME = 4_096  # bytes behind an MP3's tag in which its first frame lies
AVI_HEADER = 1 << 16  # bytes in which the header of an AVI lies
MATROSKA_HEADER = 1 << 16
EXACT = frozenset({"flac", "tta", "wv"})  # containers whose header counts frames
COUNTED = frozenset({"aac", "ac3", "avi", "eac3", "mp3"})  # whose timestamps only count the packets
SIZES_KEPT = 32  # packets, whose mean tells how many a damaged stretch was
MOST_LOST = 16  # packets, 0.4 s of MP3
MATROSKA_HEADERS = (b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b")  # Info, Tracks
MATROSKA_CRC = b"\xbf\x84"  # an element of 4 bytes, of all that follows it in its parent
DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # of a Matroska track


def announced_frames(
    container: av.container.InputContainer, stream: av.AudioStream, file: Part
) -> tuple[int | None, bool]:
    """Return how many frames a file says that it holds, and whether it means that to the frame.

    None where it does not say.
    """
    rate, name = stream.codec_context.sample_rate, container.format.name
    if name in GUESSED:
        return None, False
    if name == "mp3":
        return _mp3_frames(stream, file), False
    if name == "avi" and (announced := _avi_seconds(file)):
        return round(announced[0] * rate), announced[1]
    if stream.duration and stream.time_base is not None:
        # Of Opus in Ogg it is when the stream ends, which may begin at any time.
        begun = stream.start_time if name == "ogg" and stream.codec_context.name == "opus" else 0
        return round((stream.duration - (begun or 0)) * stream.time_base * rate), name in EXACT
    seconds = None
    if found := DURATION_TAG.match(stream.metadata.get("DURATION", "")):
        hours, minutes, rest = map(float, found.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    elif container.duration and len(container.streams) == 1:
        seconds = container.duration / av.time_base
    if seconds is None:
        return None, False
    # Matroska tells when a stream ends, which may begin late.
    return max(0, round((seconds - max(0.0, start_seconds(stream))) * rate)), False


def announces_duration(container: av.container.InputContainer) -> bool:
    """Tell whether a file says how long all of it is."""
    return container.duration is not None and container.format.name not in (*GUESSED, "mp3")


def start_seconds(stream: av.AudioStream) -> float:
    """Return the timestamp that a stream begins with; 0 where it has none."""
    return float((stream.start_time or 0) * (stream.time_base or 0))


def matroska_notes(container: av.container.InputContainer, file: Part) -> list[str]:
    """Tell of a Matroska header that does not fit its checksum, which FFmpeg passes over."""
    if not container.format.name.startswith("matroska"):
        return []
    data = _peek(file, 0, MATROSKA_HEADER)
    for name in MATROSKA_HEADERS:
        place = data.find(name)
        while place >= 0:
            content = _ebml_content(data, place + len(name))
            told = int.from_bytes(content[2:6], "little")
            if content.startswith(MATROSKA_CRC) and zlib.crc32(content[6:]) != told:
                return ["its header is damaged: it does not fit its checksum; times may be off"]
            place = data.find(name, place + 1)
    return []


def _ebml_content(data: bytes, place: int) -> bytes:
    """Return what an element holds whose size stands at a place; nothing where that is cut."""
    width = 9 - data[place].bit_length() if place < len(data) else 9  # bytes of the size
    size = int.from_bytes(data[place : place + width], "big") & (1 << 7 * width) - 1
    content = data[place + width : place + width + size]
    return content if len(content) == size else b""


class PacketCounter:
    """Tells how late packets are in a file whose timestamps only count them, behind damage."""

    def __init__(
        self, container: av.container.InputContainer, file: Part, notes: list[str]
    ) -> None:
        """`notes` get what is to be told of the beginning of the file."""
        self.late = 0  # what timestamps lack, in their own units
        self._is_needed = container.format.name in COUNTED and len(container.streams) == 1
        self._file = file
        self._notes = notes
        self._sizes = deque[int](maxlen=SIZES_KEPT)
        self._next: int | None = None  # byte at which the next packet should begin

    def decoded(self, packet: av.Packet[av.AudioStream]) -> None:
        """Take note of a packet that was decoded."""
        if packet.size:
            self._sizes.append(packet.size)

    def failed(self, packet: av.Packet[av.AudioStream]) -> None:
        """Take note of a packet that cannot be decoded, and may have been several."""
        self._add_lost(packet.size, packet, counted=1)

    def skipped(self, packet: av.Packet[av.AudioStream]) -> bool:
        """Tell whether bytes before a packet that belong to none may have held one."""
        before, self._next = self._next, None
        if packet.pos is None or not self._is_needed:
            return False
        self._next = packet.pos + packet.size
        if before is None and not self._sizes:
            self._notes += _beginning_notes(self._file, packet, packet.pos)
        gap = 0 if before is None else packet.pos - before
        if gap <= 0 or not self._sizes or 2 * gap * len(self._sizes) <= sum(self._sizes):
            return False
        self._add_lost(gap, packet)
        return True

    def _add_lost(self, size: int, packet: av.Packet[av.AudioStream], counted: int = 0) -> None:
        """Let what follows be later by what a stretch of bytes held beyond the packets counted.

        A stretch that would be long is no audio: a tag or a picture between files that were joined.
        """
        packets = round(size * len(self._sizes) / max(1, sum(self._sizes)))
        if self._is_needed and packets <= MOST_LOST:
            self.late += max(0, packets - counted) * (packet.duration or 0)


def _beginning_notes(file: Part, packet: av.Packet[av.AudioStream], position: int) -> list[str]:
    """Tell of what stands before the first packet, at a byte, and is neither tag nor header."""
    codec = packet.stream.codec_context
    is_mp3 = codec.name.startswith("mp3")
    start = _tags_length(file)
    before = _peek(file, start, max(0, position - start))
    if is_mp3:
        is_right = is_whole_header(before) if before else not holds_header(bytes(packet))
        is_right &= not holds_header(_peek(file, 0, start))  # of a tag that is too long
    else:
        is_right = not before
    if is_right or packet.stream.container.format.name == "avi":
        return []
    off = float(MOST_FRAMES_OFF if is_mp3 else 0)
    off += len(before) / packet.size * codec.frame_size
    return [
        f"its beginning is damaged ({len(before)} bytes before the first whole packet): all may be "
        f"early or late by up to {off / codec.sample_rate:.2f} s"
    ]


def flac_start(packet: av.Packet[av.AudioStream]) -> float | None:
    """Return the sample number in a FLAC frame's header, None for packets with a timestamp.

    FFmpeg gives none behind damage until it has found its place again.
    """
    codec = packet.stream.codec_context
    if packet.pts is not None or codec.name != "flac" or packet.size < 12 or not codec.extradata:
        return None
    head = bytes(packet)[:12]
    number = _coded_number(head[4:])
    if number is None or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    # With one block size for all the number counts blocks, else samples.
    block_size = int.from_bytes(codec.extradata[:2], "big")
    return float(number if head[1] & 1 else number * block_size)


def _coded_number(data: bytes) -> int | None:
    """Decode a number in UTF-8's manner, of up to 36 bits."""
    length = 8 - (~data[0] & 0xFF).bit_length()  # leading ones
    if length == 0:
        return data[0]
    if length == 1 or length > 7:
        return None
    number = data[0] & (0x7F >> length)
    for byte in data[1:length]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    return number


def _mp3_frames(stream: av.AudioStream, file: Part) -> int | None:
    """Return the frames that an MP3's Xing, Info or VBRI header announces, None without one.

    FFmpeg takes its own guess where the file's size does not fit the header.
    """
    data = _peek(file, _tags_length(file), FIRST_FRAME)
    packet_length = stream.codec_context.frame_size or 1_152
    if (place := data.find(b"VBRI")) >= 0:
        return int.from_bytes(data[place + 14 : place + 18], "big") * packet_length
    place = max(data.find(b"Xing"), data.find(b"Info"))
    if place < 0 or not data[place + 7] & 1:
        return None
    frames = int.from_bytes(data[place + 8 : place + 12], "big") * packet_length
    trimmed = int.from_bytes(data[place + 141 : place + 144], "big")  # by LAME: 12 bits each
    return max(0, frames - (trimmed >> 12) - (trimmed & 0xFFF))


def _avi_seconds(file: Part) -> tuple[float, bool] | None:
    """Return the length that an AVI's header gives its first audio stream; FFmpeg corrects it.

    It is exact where it counts packets, and not bytes.
    """
    data = _peek(file, 0, AVI_HEADER)
    place = data.find(b"strh")
    while place >= 0:
        if data[place + 8 : place + 12] == b"auds" and len(data) >= place + 44:
            scale, rate, _, length = struct.unpack_from("<IIII", data, place + 28)
            return (length * scale / rate, scale > 1) if rate else None
        place = data.find(b"strh", place + 4)
    return None


def _tags_length(file: Part) -> int:
    """Return how many bytes the ID3v2 tags take up that a file begins with."""
    length = 0
    while more := id3_length(_peek(file, length, ID3_HEADER_LENGTH)):
        length += more
    return length


def _peek(file: Part, start: int, size: int) -> bytes:
    """Read from a place without moving the file: FFmpeg reads on from where it was."""
    before = file.tell()
    file.seek(start)
    data = file.read(size) or b""
    file.seek(before)
    return data
