"""Decode with FFmpeg's libraries: every frame at its own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame

from htmdsep.audio.lengths import LONGEST_HOLE_SECONDS, AudioHeader, Timeline
from htmdsep.audio.parts import Part
from htmdsep.audio.stamps import (
    GUESSED,
    PacketCounter,
    announced_frames,
    announces_duration,
    flac_start,
    matroska_notes,
    start_seconds,
)
from htmdsep.audio.tags import MP3_TAGS, clean_tags, tags_length
from htmdsep.dsp.blocks import equal_blocks
from htmdsep.errors import HtmdsepError, explained
from htmdsep.options import Subtype

# No protocol has this name: what a file names (a playlist its parts, an SDP a port) stays closed.
NO_PROTOCOL = {"protocol_whitelist": "none"}
ALL_TAGS = {"export_all": "1"}  # of an MP4, beats a minute among them
CHECKSUMS = {"err_detect": "crccheck+explode"}  # which FFmpeg else reads and passes over
LOSSLESS_CODECS = ("flac", "alac", "tta", "wavpack", "ape", "truehd", "mlp", "tak")
# With as many planes PyAV 18.1 looks for one more, beyond the end of FFmpeg's list of them.
FIRST_UNSAFE = 8
# By more than both of these the streams of a video end before its header's estimate only in a cut.
SHORT_SECONDS = 1.0
SHORT_SHARE = 0.02
LATE_SECONDS = 0.05  # by which a video's sound may begin after its picture without a note

Opened = tuple[AudioHeader, Iterator[np.ndarray]]


def open_container(
    file: Part, stack: ExitStack, container_format: str | None = None
) -> av.container.InputContainer:
    """Open a file with FFmpeg; raise HtmdsepError where it knows no such kind."""
    file.seek(0)
    remedy = "is it an audio file? if so, convert it to WAV or FLAC"
    with explained("no audio that can be decoded", remedy, of=(av.FFmpegError, ValueError)):
        # The open file, not its name: FFmpeg takes "Live: one.mp3" for an address.
        return stack.enter_context(
            av.open(
                file,
                "r",
                format=container_format,
                options=NO_PROTOCOL | ALL_TAGS,
                metadata_errors="surrogateescape",
            )
        )


def open_stream(
    file: Part,
    number: int | None,
    notes: list[str],
    stack: ExitStack,
    begin: float | None = None,
) -> Opened:
    """Open a file with FFmpeg; `begin` is the timestamp it begins at, None for the first."""
    container = open_container(file, stack)
    stream = _pick_stream(container, number or 0)
    codec = stream.codec_context
    frames, exact = announced_frames(container, stream, file)
    if container.format.name == "flv" and len(container.streams) == 1:
        begin = 0.0  # by its specification
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
        tags=stream_tags(container, stream),
    )
    notes += _stream_notes(container, stream) + matroska_notes(container, file)
    if number is None and len(container.streams.audio) > 1:
        notes.append(f"it holds {len(container.streams.audio)} audio streams; the first is read")
    return header, equal_blocks(_blocks(container, stream, header, notes, begin, file))


def _pick_stream(container: av.container.InputContainer, number: int) -> av.AudioStream:
    """Return an audio stream that can be decoded."""
    streams = container.streams.audio
    if not streams:
        raise HtmdsepError("it holds no audio stream; name a file with sound")
    if number >= len(streams):
        raise HtmdsepError(
            f"it holds {len(streams)} audio streams; a MUSDB18 stem file has 5: mixture, drums, "
            "bass, other, vocals"
        )
    codec = streams[number].codec_context
    if codec is None:  # PyAV's types do not tell
        raise HtmdsepError("its audio is of a kind unknown here; convert it to WAV or FLAC")
    if not codec.sample_rate or not codec.layout.nb_channels:
        raise HtmdsepError(
            "no audio that can be decoded (no packet tells a sample rate); is it an audio file?"
        )
    if codec.name in LOSSLESS_CODECS:
        codec.options = CHECKSUMS
    return streams[number]


def stream_tags(container: av.container.InputContainer, stream: av.AudioStream) -> dict[str, str]:
    """Return the tags of a file and of its stream."""
    return clean_tags({**container.metadata, **stream.metadata})


def _subtype(codec: av.AudioCodecContext) -> Subtype:
    lossless = codec.name in LOSSLESS_CODECS or codec.name.startswith("pcm_")
    if lossless and codec.format is not None and codec.format.bytes > 2:
        return "FLOAT" if codec.format.name.startswith(("flt", "dbl")) else "PCM_24"
    return "PCM_16"


def depth_notes(codec: str) -> list[str]:
    """Tell of samples deeper than what is kept, by FFmpeg's or libsndfile's name for them."""
    if codec.startswith(("pcm_s32", "pcm_32")):
        return ["its 32-bit integers are read as 24 bits"]
    if codec.startswith(("pcm_f64", "double")):
        return ["its 64-bit floats are read as 32 bits"]
    return []


def _stream_notes(container: av.container.InputContainer, stream: av.AudioStream) -> list[str]:
    """Tell of what is in a file and will not be in the stems."""
    notes = depth_notes(stream.codec_context.name)
    if container.start_time is None or stream.start_time is None or stream.time_base is None:
        return notes
    late = float(stream.start_time * stream.time_base) - container.start_time / av.time_base
    if late > LATE_SECONDS:
        notes.append(
            f"its sound begins {late:.3f} s after its other streams; the stems begin with it"
        )
    return notes


def _blocks(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    header: AudioHeader,
    notes: list[str],
    begin: float | None,
    file: Part,
) -> Iterator[np.ndarray]:
    """Yield every frame as float32, at its own time."""
    timeline = Timeline(header, _longest(container, stream, header, begin), begin)
    to_float = av.AudioResampler(format="flt")
    ticks = float((stream.time_base or 0) * header.sample_rate)  # frames a unit of timestamps
    counter = PacketCounter(container, file, notes)
    is_mp4 = container.format.name.startswith("mov,")
    is_timed = container.format.name != "rm" or container.duration  # not RealAudio's first kinds
    decode = _decode_mp3 if stream.codec_context.name.startswith("mp3") else av.Packet.decode
    for packet in _packets(container, stream, header, notes):
        begun = None if packet.pts is None else packet.pts * ticks
        if counter.skipped(packet):
            timeline.damage(begun)
        try:
            frames = decode(packet)
        except av.FFmpegError:
            timeline.damage(begun)
            counter.failed(packet)
            continue
        counter.decoded(packet)
        start = flac_start(packet)  # of the first frame, if FFmpeg tells none
        for frame in frames:
            assert isinstance(frame, AudioFrame)
            check_same(header, frame.sample_rate, frame.layout.nb_channels)
            samples = _samples(frame, to_float, header.channels)
            if is_mp4 and packet.duration and _is_last(packet, stream):
                samples = samples[: round(packet.duration * ticks)]  # the rest is padding
            if is_timed and frame.pts is not None:
                start = (frame.pts + counter.late) * ticks
            yield from timeline.place(samples, start)
            start = None
    yield from timeline.finish()
    notes += timeline.notes()


def _decode_mp3(packet: av.Packet[av.AudioStream]) -> list[AudioFrame]:
    """Decode a packet, also behind the tags that FFmpeg leaves there where MP3s were joined."""
    data = bytes(packet)
    if not data.startswith(MP3_TAGS):
        return packet.decode()
    rest = av.Packet(data[tags_length(data) :])
    rest.pts, rest.dts, rest.time_base = packet.pts, packet.dts, packet.time_base
    return packet.stream.codec_context.decode(rest) if rest.size else []


def _is_last(packet: av.Packet[av.AudioStream], stream: av.AudioStream) -> bool:
    """Tell whether a packet reaches the end of its stream, as far as that is known."""
    if packet.pts is None or packet.duration is None or stream.duration is None:
        return False
    return packet.pts + packet.duration >= (stream.start_time or 0) + stream.duration


def _longest(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    header: AudioHeader,
    begin: float | None,
) -> int | None:
    """Return how many frames a file can hold, by the container's duration."""
    if container.duration is None or container.format.name in GUESSED:
        return None
    seconds = container.duration / av.time_base
    seconds += 0.0 if begin is None else start_seconds(stream) - begin
    return round(seconds * header.sample_rate)


def _samples(frame: AudioFrame, to_float: av.AudioResampler, channels: int) -> np.ndarray:
    """Return a frame's samples as (frames, channels) float32."""
    if frame.format.name == "fltp" and channels < FIRST_UNSAFE:  # nothing to convert
        samples = np.empty((frame.samples, channels), np.float32)
        for column, plane in zip(samples.T, frame.planes, strict=True):
            column[:] = np.frombuffer(memoryview(plane), np.float32)[: frame.samples]
        return samples
    parts = [part.to_ndarray().reshape(-1, channels) for part in to_float.resample(frame)]
    return np.concatenate(parts)


def _packets(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    header: AudioHeader,
    notes: list[str],
) -> Iterator[av.Packet[av.AudioStream]]:
    """Yield a stream's packets; where the file alone announces a length, note whether it is cut.

    A video's sound may end before its picture: only all streams together tell of a cut.
    """
    is_among_others = header.frames is None and len(container.streams) > 1
    all_count = is_among_others and announces_duration(container)
    end = 0.0
    remedy = "copy or download it again, or re-encode it"
    with explained("damaged, or of a kind unknown here", remedy, of=av.FFmpegError):
        for packet in container.demux() if all_count else container.demux(stream):
            # Damage makes streams of other kinds, at any time
            is_timed = all_count and packet.stream.type in ("audio", "video")
            if is_timed and packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index == stream.index:
                yield cast("av.Packet[av.AudioStream]", packet)
    announced = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
    if all_count and announced - end > max(SHORT_SECONDS, SHORT_SHARE * announced):
        notes.append(
            f"it may be cut: its header announces about {announced:.1f} s, its streams end after "
            f"{end:.1f} s"
        )


def check_same(header: AudioHeader, sample_rate: int, channels: int) -> None:
    """Raise HtmdsepError where a stream goes on in another format than its header's."""
    if (sample_rate, channels) != (header.sample_rate, header.channels):
        raise HtmdsepError(
            f"the stream changes from {header.sample_rate} Hz, {header.channels} channels to "
            f"{sample_rate} Hz, {channels} channels; cut it there and separate the parts"
        )
