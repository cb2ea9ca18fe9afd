"""The two decoders: libsndfile for uncompressed files and Ogg, FFmpeg's libraries for the rest.

libsndfile stops without a word where an MP3's or a FLAC's header announces less than the file
holds, or at the second of several chained Ogg streams (measured with 1.2.2), and its MP3 decoder
writes to standard error; FFmpeg tells of every frame it decodes. FFmpeg in turn loses samples at
the end of some Vorbis files (128 of 44 100, measured with PyAV 18.1).
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame

from htmdsep.chunks import equal_blocks
from htmdsep.errors import HtmdsepError
from htmdsep.options import Subtype
from htmdsep.riff import SIZES_UNKNOWN, holds_more

# The first bytes of WAV, RF64, BW64, big-endian WAV, Wave64, AIFF, AU (both orders) and CAF.
UNCOMPRESSED_MAGIC = (
    b"RIFF", b"RF64", b"BW64", b"RIFX", b"riff", b"FORM", b".snd", b"dns.", b"caff",
)  # fmt: skip
OGG_MAGIC = b"OggS"
OGG_FIRST_PAGE = b"OggS\x00\x02"  # with which every stream in an Ogg file begins
LOSSLESS_CODECS = ("flac", "alac", "tta", "wavpack", "ape", "truehd")
REPAIR = "copy or download it again, or re-encode it"
MAX_TRAILING = 8  # packets that a tag or a cut may spoil at the end: 0.2 s of MP3 or AAC
MAX_DAMAGED_SHARE = 0.01  # of a lossy file's packets; beyond it the file is refused


@dataclass
class Decoded:
    """An open audio file: its format, and its samples as they come."""

    sample_rate: int  # Hz
    channels: int
    frames: int | None  # as announced; None where unknown
    exact: bool  # whether the announced number is meant exactly
    subtype: Subtype  # the output depth that keeps what the file holds
    blocks: Iterator[np.ndarray]  # (frames, channels) float32
    tags: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what a user should know, one line each


@contextmanager
def decode(path: Path, block_length: int) -> Iterator[Decoded]:
    """Open an audio file, with the decoder that fits its first bytes.

    Raises HtmdsepError where neither decoder knows it, and OSError where it cannot be opened.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if not magic:
            raise HtmdsepError("the file is empty (0 bytes); copy or download it again")
        if magic in UNCOMPRESSED_MAGIC or (magic == OGG_MAGIC and _is_single_ogg(file)):
            try:
                sound = soundfile.SoundFile(native_path(path))
            except (soundfile.LibsndfileError, TypeError):
                # A compressed stream in a WAV or CAF, which FFmpeg may know; or an ending of
                # .raw, for which soundfile wants to be told what it reads.
                pass
            else:
                with sound:
                    decoded = _decode_soundfile(sound, block_length)
                    if magic == b"RIFF" and holds_more(file):
                        decoded.notes.append(
                            "its header announces less than the file holds, and only that is "
                            "read; mend the header to have all of it"
                        )
                    yield decoded
                    return
        file.seek(0)
        try:
            # The open file, not its name: FFmpeg takes "Live: one.mp3" for an address.
            container = av.open(file, "r", metadata_errors="replace")
        except av.FFmpegError as error:
            raise HtmdsepError(
                f"no audio that can be decoded ({_reason(error)}); is it an audio file? if so, "
                "convert it to WAV or FLAC"
            ) from error
        with container:
            if not container.streams.audio:
                raise HtmdsepError("it holds no audio stream; name a file with sound")
            yield _decode_av(container, block_length)


def native_path(path: Path) -> Path | bytes:
    """Return a path as soundfile takes it whatever bytes the name holds."""
    return os.fsencode(path) if os.name == "posix" else path


def _decode_soundfile(sound: soundfile.SoundFile, block_length: int) -> Decoded:
    deep: dict[str, Subtype] = {
        "PCM_24": "PCM_24",
        "PCM_32": "PCM_24",
        "FLOAT": "FLOAT",
        "DOUBLE": "FLOAT",
    }

    def blocks() -> Iterator[np.ndarray]:
        try:
            while len(block := sound.read(block_length, dtype="float32", always_2d=True)):
                yield block
        except soundfile.LibsndfileError as error:
            raise HtmdsepError(
                f"damaged after {sound.tell()} frames ({error}); {REPAIR}"
            ) from error

    return Decoded(
        sample_rate=sound.samplerate,
        channels=sound.channels,
        frames=_announced_frames(sound),
        exact=True,
        subtype=deep.get(sound.subtype, "PCM_16"),
        blocks=blocks(),
        tags={name: text for name, text in sound.copy_metadata().items() if text},
    )


def _announced_frames(sound: soundfile.SoundFile) -> int:
    """Return the frames that the header promises; libsndfile's own number is cut to the file."""
    found = re.search(
        r"^(?:data|SSND) *: (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE
    )
    frames = int(sound.frames)
    if found and int(found[1]) not in SIZES_UNKNOWN and int(found[2]):
        return frames * int(found[1]) // int(found[2])
    return frames


def _decode_av(container: av.container.InputContainer, block_length: int) -> Decoded:
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None:  # PyAV's types do not tell
        raise HtmdsepError("its audio is of a kind unknown here; convert it to WAV or FLAC")
    lossless = _is_lossless(codec)
    deep = codec.format is not None and codec.format.bytes > 2
    frames = None
    if stream.duration is not None and stream.time_base is not None and codec.sample_rate:
        frames = round(stream.duration * stream.time_base * codec.sample_rate)
    decoded = Decoded(
        sample_rate=codec.sample_rate or 0,
        channels=codec.layout.nb_channels,
        frames=frames,
        exact=codec.codec.name == "flac",
        subtype="PCM_24" if lossless and deep else "PCM_16",
        blocks=iter(()),
        tags={**_lower(container.metadata), **_lower(stream.metadata)},
    )
    decoded.blocks = equal_blocks(_av_blocks(container, stream, decoded), block_length)
    return decoded


def _av_blocks(
    container: av.container.InputContainer, stream: av.AudioStream, decoded: Decoded
) -> Iterator[np.ndarray]:
    """Yield each frame as float32; a frame that differs in rate or channels is an error."""
    to_float = av.AudioResampler(format="flt")
    for frame in _av_frames(container, stream, decoded):
        layout = (frame.sample_rate, frame.layout.nb_channels)
        if layout != (decoded.sample_rate, decoded.channels):
            raise HtmdsepError(
                f"the stream changes from {decoded.sample_rate} Hz, {decoded.channels} channels to "
                f"{layout[0]} Hz, {layout[1]} channels; cut it there and separate the parts"
            )
        if frame.format.name == "fltp":  # as lossy codecs give it: nothing to convert
            planes = [np.frombuffer(bytes(plane), np.float32) for plane in frame.planes]
            yield np.stack(planes, axis=1)[: frame.samples]  # (frames, channels)
            continue
        for converted in to_float.resample(frame):
            yield converted.to_ndarray().reshape(-1, decoded.channels)  # (frames, channels)


def _av_frames(
    container: av.container.InputContainer, stream: av.AudioStream, decoded: Decoded
) -> Iterator[AudioFrame]:
    """Decode packet by packet, leaving out damaged ones of lossy codecs as players do.

    What a lossy file ends in may be a tag or a cut packet: the caller compares the lengths.
    """
    packets = damaged = pending = frames = 0
    first_damage = None
    lossless = _is_lossless(stream.codec_context)
    for packet in _av_packets(container, stream):
        packets += 1
        try:
            decoded_frames = packet.decode()
        except av.FFmpegError as error:
            pending += 1
            first_damage = frames if first_damage is None else first_damage
            if lossless and (decoded.frames is None or frames >= decoded.frames):
                raise HtmdsepError(
                    f"damaged after {frames} frames ({_reason(error)}); {REPAIR}"
                ) from error
            continue
        for frame in decoded_frames:
            assert isinstance(frame, AudioFrame)
            if lossless and pending:
                raise HtmdsepError(f"damaged after {frames} frames; {REPAIR}")
            damaged, pending = damaged + pending, 0
            frames += frame.samples
            yield frame
    if lossless and pending and not decoded.exact:
        raise HtmdsepError(f"damaged or cut after {frames} frames; {REPAIR}")
    if pending > MAX_TRAILING:
        damaged += pending
    if damaged > MAX_DAMAGED_SHARE * packets:
        raise HtmdsepError(f"{damaged} of {packets} packets are damaged; {REPAIR}")
    if damaged and first_damage is not None:
        decoded.notes.append(
            f"{damaged} damaged packets were left out, the first after "
            f"{first_damage / decoded.sample_rate:.3f} s"
        )


def _av_packets(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.Packet[av.AudioStream]]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        raise HtmdsepError(
            f"damaged, or of a kind unknown here ({_reason(error)}); {REPAIR}"
        ) from error


def _is_lossless(codec: av.AudioCodecContext) -> bool:
    return codec.codec.name in LOSSLESS_CODECS or codec.codec.name.startswith("pcm_")


def _is_single_ogg(file: BinaryIO) -> bool:
    """Tell whether an Ogg file holds one stream, neither chained nor multiplexed."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(OGG_FIRST_PAGE, 1) < 0


def _lower(metadata: dict[str, str]) -> dict[str, str]:
    """Return tags by names in small letters; FFmpeg calls a track's number by a name of its own."""
    names = {"track": "tracknumber"}
    return {names.get(name.lower(), name.lower()): text for name, text in metadata.items()}


def _reason(error: av.FFmpegError) -> str:
    return str(error.strerror or error).rstrip(".")
