"""The two decoders: libsndfile for uncompressed files and Ogg Vorbis, FFmpeg's for the rest.

FFmpeg tells the time of every frame it decodes, so that damage shows. libsndfile tells none: an
Ogg file's pages are looked through first, and whatever is not whole goes to FFmpeg, which in turn
is off by up to a packet at the end of some whole Vorbis files (measured with PyAV 18.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame

from htmdsep.chunks import equal_blocks
from htmdsep.errors import HtmdsepError
from htmdsep.lengths import LONGEST_HOLE_SECONDS, AudioHeader, Timeline, check_length
from htmdsep.ogg import MAGIC as OGG_MAGIC
from htmdsep.ogg import Link, read_links
from htmdsep.options import Subtype
from htmdsep.parts import Part, whole
from htmdsep.sizes import DataSize, data_size
from htmdsep.stamps import (
    COUNTED,
    PacketCounter,
    announced_frames,
    flac_start,
    frame_start,
    packet_start,
    start_seconds,
)
from htmdsep.tags import ID3_HEADER_LENGTH, clean_tags, id3_length

BLOCK_LENGTH = 65_536  # frames a block; what comes out does not depend on it
# The first bytes of WAV, RF64, BW64, big-endian WAV, Wave64, AIFF, AU (both orders) and CAF.
UNCOMPRESSED_MAGIC = (
    b"RIFF", b"RF64", b"BW64", b"RIFX", b"riff", b"FORM", b".snd", b"dns.", b"caff",
)  # fmt: skip
BEHIND_ID3 = (*UNCOMPRESSED_MAGIC, b"wvpk", b"MAC ")  # what FFmpeg does not look for there
# No protocol has this name: what a file names (a playlist its parts, an SDP a port) stays closed.
NO_PROTOCOL = {"protocol_whitelist": "none"}
CHECKSUMS = {"err_detect": "crccheck+explode"}  # which FFmpeg else reads and passes over
LOSSLESS_CODECS = ("flac", "alac", "tta", "wavpack", "ape", "truehd", "mlp", "tak")
DEEP: dict[str, Subtype] = {
    "PCM_24": "PCM_24", "PCM_32": "PCM_24", "FLOAT": "FLOAT", "DOUBLE": "FLOAT",
}  # fmt: skip
SAMPLE_BYTES = {
    "PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4,
    "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
KEPT_LESS = {
    "PCM_32": "its 32-bit integers are read as 24 bits",
    "DOUBLE": "its 64-bit floats are read as 32 bits",
}
# Channels of Vorbis in the order of WAV, by their number
VORBIS_ORDER = {
    3: (0, 2, 1), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 5, 3, 4), 7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}  # fmt: skip
LATE_SECONDS = 0.05  # by which a video's sound may begin after its picture without a note

Opened = tuple[AudioHeader, Iterator[np.ndarray]]


@contextmanager
def decode(
    path: Path, stream: int = 0
) -> Iterator[tuple[AudioHeader, Iterator[np.ndarray], list[str]]]:
    """Open one audio stream of a file: yield its header, its (frames, channels) blocks, its notes.

    Blocks are float32; the list of notes is complete when the last block has come. Raises
    HtmdsepError where neither decoder knows the file, and OSError where it cannot be opened.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(path.open("rb"))
        file = whole(opened)
        notes: list[str] = []
        header, blocks = _open(file, stream, notes, stack)
        yield header, equal_blocks(blocks, BLOCK_LENGTH), notes


def _open(file: Part, stream: int, notes: list[str], stack: ExitStack) -> Opened:
    head = file.read(ID3_HEADER_LENGTH) or b""
    magic = head[:4]
    if not magic:
        raise HtmdsepError("the file is empty (0 bytes); copy or download it again")
    if magic == OGG_MAGIC and stream == 0 and (links := read_links(file)):
        return _open_ogg(file, links, notes, stack)
    if tagged := id3_length(head):
        file.seek(tagged)
        if (file.read(4) or b"") in BEHIND_ID3:
            return _open_tagged(file, tagged, notes, stack)
    if magic in UNCOMPRESSED_MAGIC and stream == 0:
        is_wave = magic != b"RIFF" or head[8:] == b"WA"
        size = data_size(file, magic) if is_wave else None
        sound = _open_soundfile(file, stack)
        if sound is not None and sound.frames:
            return _read_uncompressed(file, sound, size, notes, stack)
        notes += size.notes() if size else []
        if size is not None and size.held < size.announced:
            notes.append(
                f"truncated: its header announces {size.announced} bytes of audio, it holds "
                f"{size.held}"
            )
    return _open_av(file, stream, notes, stack)


def _open_tagged(file: Part, tagged: int, notes: list[str], stack: ExitStack) -> Opened:
    """Open what lies behind an ID3v2 tag where FFmpeg does not look for it."""
    part = Part(file, [(tagged, file.seek(0, os.SEEK_END))])
    header, blocks = _open(part, 0, notes, stack)
    try:
        tags = clean_tags(_open_container(file, stack, "mp3").metadata)
    except HtmdsepError:
        return header, blocks
    return replace(header, tags=tags | dict(header.tags)), blocks


def _open_soundfile(part: Part, stack: ExitStack) -> soundfile.SoundFile | None:
    """Open a file with libsndfile, at a place of its own; None for what FFmpeg may know."""
    try:
        return stack.enter_context(soundfile.SoundFile(whole(part)))
    except soundfile.LibsndfileError:
        return None


def _read_uncompressed(
    file: Part,
    sound: soundfile.SoundFile,
    size: DataSize | None,
    notes: list[str],
    stack: ExitStack,
) -> Opened:
    tags = {name: text for name, text in sound.copy_metadata().items() if text}
    try:
        tags |= clean_tags(_open_container(file, stack).metadata)
    except HtmdsepError:
        pass  # a kind that FFmpeg does not know
    frames = int(sound.frames)
    if size is not None and sound.subtype in SAMPLE_BYTES:
        frames = size.announced // (SAMPLE_BYTES[sound.subtype] * sound.channels)
    elif size is not None and size.held:
        frames = frames * size.announced // size.held
    if size is not None and sound.frames <= frames:  # else libsndfile reads on, to the end
        notes += size.notes()
    if sound.subtype in KEPT_LESS:
        notes.append(KEPT_LESS[sound.subtype])
    header = AudioHeader(
        sample_rate=sound.samplerate,
        channels=sound.channels,
        frames=frames,
        exact=True,
        subtype=DEEP.get(sound.subtype, "PCM_16"),
        tags=tags,
    )
    return header, _soundfile_blocks(sound)


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
                _check_same(header, following.sample_rate, following.channels)
                yield from _counted(following, more, notes)

    return replace(header, frames=None), chained()


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
        sound = _open_soundfile(part, stack)
        if sound is not None and sound.frames:
            # FFmpeg reads all values of a tag, libsndfile the first.
            container = _open_container(part, stack)
            header = AudioHeader(
                sample_rate=sound.samplerate,
                channels=sound.channels,
                frames=int(sound.frames),
                exact=True,
                subtype="PCM_16",
                tags=_tags(container, container.streams.audio[0]),
            )
            return header, _in_wav_order(_soundfile_blocks(sound), sound.channels)
        part.seek(0)
    # Where pages are missing the first may be, too.
    return _open_av(part, 0, notes, stack, begin=None if link.is_whole else 0.0)


def _in_wav_order(blocks: Iterator[np.ndarray], channels: int) -> Iterator[np.ndarray]:
    """Put Vorbis's channels into the order of WAV."""
    order = VORBIS_ORDER.get(channels)
    for block in blocks:
        yield block if order is None else np.ascontiguousarray(block[:, order])


def _open_container(
    file: Part, stack: ExitStack, container_format: str | None = None
) -> av.container.InputContainer:
    file.seek(0)
    try:
        # The open file, not its name: FFmpeg takes "Live: one.mp3" for an address.
        return stack.enter_context(
            av.open(
                file,
                "r",
                format=container_format,
                options=NO_PROTOCOL,
                metadata_errors="surrogateescape",
            )
        )
    except (av.FFmpegError, ValueError) as error:
        raise HtmdsepError(
            f"no audio that can be decoded ({_reason(error)}); is it an audio file? if so, "
            "convert it to WAV or FLAC"
        ) from error


def _open_av(
    file: Part,
    number: int,
    notes: list[str],
    stack: ExitStack,
    begin: float | None = None,
) -> Opened:
    """Open a file with FFmpeg; `begin` is the timestamp it begins at, None for the first."""
    container = _open_container(file, stack)
    streams = container.streams.audio
    if not streams:
        raise HtmdsepError("it holds no audio stream; name a file with sound")
    if number >= len(streams):
        raise HtmdsepError(
            f"it holds {len(streams)} audio streams; a MUSDB18 stem file has 5: mixture, drums, "
            "bass, other, vocals"
        )
    stream = streams[number]
    codec = stream.codec_context
    if codec is None:  # PyAV's types do not tell
        raise HtmdsepError("its audio is of a kind unknown here; convert it to WAV or FLAC")
    if not codec.sample_rate or not codec.layout.nb_channels:
        raise HtmdsepError(
            "no audio that can be decoded (no packet tells a sample rate); is it an audio file?"
        )
    if codec.name in LOSSLESS_CODECS:
        codec.options = CHECKSUMS
    frames, exact = announced_frames(container, stream, file)
    if begin is not None and start_seconds(stream) > LONGEST_HOLE_SECONDS:
        begin = None  # of a recording that did not begin with the broadcast
    elif begin is not None and frames is not None:
        frames += round((start_seconds(stream) - begin) * codec.sample_rate)
    header = AudioHeader(
        sample_rate=codec.sample_rate,
        channels=codec.layout.nb_channels,
        frames=frames,
        exact=exact,
        subtype=_subtype(codec),
        tags=_tags(container, stream),
    )
    notes += _stream_notes(container, stream)
    return header, _av_blocks(container, stream, header, notes, begin)


def _tags(container: av.container.InputContainer, stream: av.AudioStream) -> dict[str, str]:
    return clean_tags({**container.metadata, **stream.metadata})


def _subtype(codec: av.AudioCodecContext) -> Subtype:
    lossless = codec.name in LOSSLESS_CODECS or codec.name.startswith("pcm_")
    if lossless and codec.format is not None and codec.format.bytes > 2:
        return "FLOAT" if codec.format.name.startswith(("flt", "dbl")) else "PCM_24"
    return "PCM_16"


def _stream_notes(container: av.container.InputContainer, stream: av.AudioStream) -> list[str]:
    """Tell of what is in a file and will not be in the stems."""
    notes = []
    if len(container.streams.audio) > 1 and stream.index == container.streams.audio[0].index:
        notes.append(f"it holds {len(container.streams.audio)} audio streams; the first is read")
    if container.start_time is None or stream.start_time is None or stream.time_base is None:
        return notes
    late = float(stream.start_time * stream.time_base) - container.start_time / av.time_base
    if late > LATE_SECONDS:
        notes.append(
            f"its sound begins {late:.3f} s after its other streams; the stems begin with it"
        )
    return notes


def _av_blocks(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    header: AudioHeader,
    notes: list[str],
    begin: float | None,
) -> Iterator[np.ndarray]:
    """Yield every frame as float32, at its own time."""
    longest = None
    if container.duration is not None:
        seconds = container.duration / av.time_base
        seconds += 0.0 if begin is None else start_seconds(stream) - begin
        longest = round(seconds * header.sample_rate)
    timeline = Timeline(header, longest, begin)
    to_float = av.AudioResampler(format="flt")
    is_counted = container.format.name in COUNTED and len(container.streams) == 1
    counter = PacketCounter() if is_counted else None
    for packet in _packets(container, stream):
        if counter is not None and (skipped := counter.skipped(packet)):
            timeline.damage(packet_start(packet, header))
            timeline.delay(counter.frames(skipped, packet, header))
        try:
            frames = packet.decode()
        except av.FFmpegError:
            timeline.damage(packet_start(packet, header))
            if counter is not None:
                timeline.delay(counter.frames(packet.size, packet, header, counted=1))
            continue
        if counter is not None:
            counter.add(packet)
        starts = chain([flac_start(packet)], repeat(None))
        for frame, start in zip(frames, starts, strict=False):
            assert isinstance(frame, AudioFrame)
            _check_same(header, frame.sample_rate, frame.layout.nb_channels)
            samples = _samples(frame, to_float, header.channels)
            yield from timeline.place(samples, frame_start(frame, start, header))
    yield from timeline.finish()
    notes += timeline.notes()


def _samples(frame: AudioFrame, to_float: av.AudioResampler, channels: int) -> np.ndarray:
    """Return a frame's samples as (frames, channels) float32."""
    if frame.format.name == "fltp":  # as lossy codecs give it: nothing to convert
        planes = [np.frombuffer(bytes(plane), np.float32) for plane in frame.planes]
        return np.stack(planes, axis=1)[: frame.samples]
    parts = [part.to_ndarray().reshape(-1, channels) for part in to_float.resample(frame)]
    return np.concatenate(parts)


def _packets(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.Packet[av.AudioStream]]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        raise HtmdsepError(
            f"damaged, or of a kind unknown here ({_reason(error)}); copy or download it again, "
            "or re-encode it"
        ) from error


def _check_same(header: AudioHeader, sample_rate: int, channels: int) -> None:
    if (sample_rate, channels) != (header.sample_rate, header.channels):
        raise HtmdsepError(
            f"the stream changes from {header.sample_rate} Hz, {header.channels} channels to "
            f"{sample_rate} Hz, {channels} channels; cut it there and separate the parts"
        )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
