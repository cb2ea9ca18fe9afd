"""The two decoders: libsndfile for uncompressed files and Ogg Vorbis, FFmpeg's for the rest.

FFmpeg tells the time of every frame it decodes, so that damage shows. libsndfile tells none: an
Ogg file's pages are looked through first, and whatever is not whole goes to FFmpeg, which in turn
is off by up to a packet at the end of some whole Vorbis files (measured with PyAV 18.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import soundfile

from htmdsep.audio.ffmpeg import (
    Opened,
    check_same,
    depth_notes,
    open_container,
    open_stream,
    stream_tags,
)
from htmdsep.audio.lengths import AudioHeader, check_length
from htmdsep.audio.ogg import MAGIC as OGG_MAGIC
from htmdsep.audio.ogg import Link, read_links
from htmdsep.audio.parts import Part, whole
from htmdsep.audio.sizes import DataSize, data_size
from htmdsep.audio.tags import ID3_HEADER_LENGTH, clean_tags, id3_length
from htmdsep.dsp.blocks import BLOCK_LENGTH, equal_blocks
from htmdsep.errors import HtmdsepError
from htmdsep.options import Subtype

# The first bytes of WAV, RF64, BW64, big-endian WAV, Wave64, AIFF, AU (both orders) and CAF.
UNCOMPRESSED_MAGIC = (
    b"RIFF", b"RF64", b"BW64", b"RIFX", b"riff", b"FORM", b".snd", b"dns.", b"caff",
)  # fmt: skip
BEHIND_ID3 = (*UNCOMPRESSED_MAGIC, b"wvpk", b"MAC ")  # what FFmpeg does not look for there
DEEP: dict[str, Subtype] = {
    "PCM_24": "PCM_24", "PCM_32": "PCM_24", "FLOAT": "FLOAT", "DOUBLE": "FLOAT",
}  # fmt: skip
SAMPLE_BYTES = {
    "PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4,
    "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
# Channels of Vorbis in the order of WAV, by their number
VORBIS_ORDER = {
    3: (0, 2, 1), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 5, 3, 4), 7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}  # fmt: skip


def open_decoder(file: Part, stream: int | None, notes: list[str], stack: ExitStack) -> Opened:
    """Open an audio stream of a file: return its header, and its (frames, channels) blocks.

    Without a number it is the first, and others are noted.
    Blocks are float32; the list of notes is complete when the last block has come. Raises
    HtmdsepError where neither decoder knows the file.
    """
    head = file.read(ID3_HEADER_LENGTH) or b""
    magic = head[:4]
    if not magic:
        raise HtmdsepError("the file is empty (0 bytes); copy or download it again")
    if magic == OGG_MAGIC and not stream and (links := read_links(file)):
        return _open_ogg(file, links, notes, stack)
    if tagged := id3_length(head):
        file.seek(tagged)
        if (file.read(4) or b"") in BEHIND_ID3:
            return _open_tagged(file, tagged, notes, stack)
    if magic in UNCOMPRESSED_MAGIC and not stream:
        is_wave = magic != b"RIFF" or head[8:] == b"WA"
        size = data_size(file, magic) if is_wave else None
        sound = _open_soundfile(file, stack)
        if sound is not None:
            return _read_uncompressed(file, sound, size, notes, stack)
        notes += size.notes() if size else []
        if size is not None and size.held < size.announced:
            notes.append(
                f"truncated: its header announces {size.announced} bytes of audio, it holds "
                f"{size.held}"
            )
    return open_stream(file, stream, notes, stack)


def _open_tagged(file: Part, tagged: int, notes: list[str], stack: ExitStack) -> Opened:
    """Open what lies behind an ID3v2 tag where FFmpeg does not look for it."""
    part = Part(file, [(tagged, file.seek(0, os.SEEK_END))])
    header, blocks = open_decoder(part, None, notes, stack)
    tags = _container_tags(file, stack, "flac")  # whose demuxer reads a tag whatever follows
    return replace(header, tags=tags | dict(header.tags)), blocks


def _container_tags(file: Part, stack: ExitStack, kind: str | None = None) -> dict[str, str]:
    """Return the tags that FFmpeg finds in a file, none where it does not know its kind."""
    try:
        return clean_tags(open_container(file, stack, kind).metadata)
    except HtmdsepError:
        return {}


def _open_soundfile(part: Part, stack: ExitStack) -> soundfile.SoundFile | None:
    """Open a file with libsndfile, at a place of its own; None for what FFmpeg may know.

    So it does where channels lie one behind the other (8SVX), and the length of MP3s in a WAV.
    """
    try:
        sound = stack.enter_context(soundfile.SoundFile(whole(part)))
    except soundfile.LibsndfileError:
        return None
    is_known = sound.frames and sound.format != "SVX" and not sound.subtype.startswith("MPEG")
    return sound if is_known else None


def _header(sound: soundfile.SoundFile, frames: int, tags: dict[str, str]) -> AudioHeader:
    subtype = DEEP.get(sound.subtype, "PCM_16")
    return AudioHeader(sound.samplerate, sound.channels, frames, True, subtype, tags)


def _read_uncompressed(
    file: Part,
    sound: soundfile.SoundFile,
    size: DataSize | None,
    notes: list[str],
    stack: ExitStack,
) -> Opened:
    tags = {name: text for name, text in sound.copy_metadata().items() if text}
    tags |= _container_tags(file, stack)
    frames = int(sound.frames)
    if size is not None and sound.subtype in SAMPLE_BYTES:
        frames = size.announced // (SAMPLE_BYTES[sound.subtype] * sound.channels)
    elif size is not None and size.held:
        frames = frames * size.announced // size.held
    if size is not None and sound.frames <= frames:  # else libsndfile reads on, to the end
        notes += size.notes()
    notes += depth_notes(sound.subtype.lower())
    return _header(sound, frames, tags), _soundfile_blocks(sound)


def _soundfile_blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    try:
        while len(block := sound.read(BLOCK_LENGTH, dtype="float32", always_2d=True)):
            yield block
    except soundfile.LibsndfileError as error:
        raise HtmdsepError(
            f"damaged after {sound.tell()} frames ({error}); copy or download it again, or "
            "re-encode it"
        ) from error


def _open_ogg(file: Part, links: list[Link], notes: list[str], stack: ExitStack) -> Opened:
    """Open a chain of songs as one; every song has a decoder of its own."""
    header, blocks = _open_link(file, links[0], notes, stack)
    if not links[-1].is_ended:
        notes.append("it may be cut: its last page is not marked as the end")
    if len(links) == 1:
        return header, blocks

    def chained() -> Iterator[np.ndarray]:
        yield from _counted(header, blocks, notes)
        for link in links[1:]:
            with ExitStack() as inner:
                following, more = _open_link(file, link, notes, inner)
                check_same(header, following.sample_rate, following.channels)
                yield from _counted(following, more, notes)

    return replace(header, frames=None), equal_blocks(chained())


def _counted(
    header: AudioHeader, blocks: Iterator[np.ndarray], notes: list[str]
) -> Iterator[np.ndarray]:
    """Pass blocks on, and compare their length with the header's."""
    held = 0
    for block in blocks:
        held += len(block)
        yield block
    notes += check_length(header, held)


def _open_link(file: Part, link: Link, notes: list[str], stack: ExitStack) -> Opened:
    part = Part(file, link.stretches)
    if link.content.startswith(b"\x01vorbis") and link.streams == 1 and link.is_whole:
        sound, container = _open_soundfile(part, stack), open_container(part, stack)
        stream = container.streams.audio[0]
        first = next(container.demux(stream))
        # Of what begins before its zero, as songs that were cut do, libsndfile loses some.
        if sound is not None and (first.pts or 0) + (first.duration or 0) >= 0:
            # FFmpeg reads all values of a tag, libsndfile the first.
            header = _header(sound, int(sound.frames), stream_tags(container, stream))
            return header, _in_wav_order(_soundfile_blocks(sound), sound.channels)
    # Where pages are missing the first may be, too.
    return open_stream(part, None, notes, stack, begin=None if link.is_whole else 0.0)


def _in_wav_order(blocks: Iterator[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Put Vorbis's channels into the order of WAV."""
    order = VORBIS_ORDER.get(channels)
    for block in blocks:
        yield block if order is None else np.ascontiguousarray(block[:, order])
