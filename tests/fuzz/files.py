"""Make small audio files of every kind, and damage them from a seed."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
import soundfile

SECONDS = 4.0
RATE = 48_000  # Hz, which every codec here can do


@dataclass(frozen=True)
class Kind:
    """A container with a codec in it."""

    ending: str
    container: str  # as FFmpeg's muxer is called
    codec: str
    sample_format: str = "fltp"
    announces: bool = True  # whether the file says how long it is


KINDS = (
    Kind("wav", "wav", "pcm_s16le", "s16"),
    Kind("wav", "wav", "pcm_f32le", "flt"),
    Kind("aiff", "aiff", "pcm_s16be", "s16"),
    Kind("au", "au", "pcm_s16be", "s16"),
    Kind("caf", "caf", "pcm_s16be", "s16"),
    Kind("w64", "w64", "pcm_s16le", "s16"),
    Kind("flac", "flac", "flac", "s16"),
    Kind("ogg", "ogg", "vorbis"),
    Kind("opus", "ogg", "libopus", "flt"),
    Kind("oga", "ogg", "flac", "s16"),
    Kind("mp3", "mp3", "libmp3lame"),
    Kind("mp2", "mp2", "mp2", "s16", announces=False),
    Kind("m4a", "ipod", "aac"),
    Kind("m4a", "ipod", "alac", "s16p"),
    Kind("mp4", "mp4", "libopus", "flt"),
    Kind("mov", "mov", "pcm_s16le", "s16"),
    Kind("mka", "matroska", "vorbis"),
    Kind("mka", "matroska", "flac", "s16"),
    Kind("mkv", "matroska", "aac"),
    Kind("webm", "webm", "libopus", "flt"),
    Kind("ts", "mpegts", "aac", announces=False),
    Kind("ts", "mpegts", "ac3", announces=False),
    Kind("mpg", "mpeg", "mp2", "s16", announces=False),
    Kind("flv", "flv", "libmp3lame"),
    Kind("avi", "avi", "libmp3lame"),
    Kind("wma", "asf", "wmav2"),
    Kind("aac", "adts", "aac", announces=False),
    Kind("ac3", "ac3", "ac3", announces=False),
    Kind("eac3", "eac3", "eac3", announces=False),
    Kind("tta", "tta", "tta", "s16"),
    Kind("wv", "wv", "wavpack", "s16p"),
)


def coded_signal() -> np.ndarray:
    """Return a mono signal of which every moment differs from every other: noise below 4 kHz.

    Codecs keep the waveform of low frequencies.
    """
    rng = np.random.default_rng(1)
    frames = round(SECONDS * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(frames))
    spectrum[np.fft.rfftfreq(frames, 1 / RATE) > 4_000] = 0
    signal = np.fft.irfft(spectrum, frames)
    return np.asarray(0.3 * signal / np.abs(signal).max(), np.float32)


def encode(kind: Kind, signal: np.ndarray) -> bytes:
    """Return a file of the signal."""
    packed = io.BytesIO()
    if kind.codec == "vorbis":  # of which FFmpeg's own encoder is experimental
        soundfile.write(packed, signal, RATE, "VORBIS", format="OGG")
        return bytes(packed.getvalue()) if kind.container == "ogg" else _remuxed(kind, packed)
    with av.open(packed, "w", format=kind.container) as container:
        stream = container.add_stream(kind.codec, rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000  # where the codec has one
        stream.codec_context.format = kind.sample_format
        converter = av.AudioResampler(kind.sample_format, "mono", RATE)
        for first in range(0, len(signal), 1_024):
            block = np.ascontiguousarray(signal[None, first : first + 1_024])
            frame = av.AudioFrame.from_ndarray(block, "flt", "mono")
            frame.sample_rate, frame.pts = RATE, first
            for converted in converter.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return packed.getvalue()


def _remuxed(kind: Kind, ogg: io.BytesIO) -> bytes:
    ogg.seek(0)
    packed = io.BytesIO()
    with av.open(ogg, "r") as source, av.open(packed, "w", format=kind.container) as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return packed.getvalue()


Damage = Callable[[bytes, np.random.Generator], bytes]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(data, rng)
    values = np.frombuffer(data[first:last], np.uint8)
    flipped = bytes(values ^ rng.integers(1, 256, len(values), np.uint8))
    return data[:first] + flipped + data[last:]


def _zero(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(data, rng)
    return data[:first] + bytes(last - first) + data[last:]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) // 10, len(data)))]


def _hole(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(data, rng)
    return data[:first] + data[last:]


def _double(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(data, rng)
    return data[:last] + data[first:last] + data[last:]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _stretch(data, rng)
    return data[:first] + rng.bytes(last - first) + data[first:]


def _stretch(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Return where a stretch of random place and size begins and ends, sizes evenly by octaves."""
    size = int(2 ** rng.uniform(0, np.log2(max(2, len(data) / 4))))
    first = int(rng.integers(0, len(data) - size))
    return first, first + size


DAMAGES: dict[str, Damage] = {
    "flip": _flip, "zero": _zero, "cut": _cut, "hole": _hole, "double": _double, "insert": _insert,
}  # fmt: skip
