"""The lossy formats: at which rates they run, and an encoder's file, aligned to the sample.

MP3, Opus and AAC are encoded by FFmpeg, whose containers tell of the encoder's delay and padding: a
LAME header, Ogg's pre-skip and granule positions, an MP4's edit list. Vorbis, for which PyAV's
FFmpeg has no encoder but an experimental one, is libsndfile's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, NamedTuple

import av
import numpy as np

from htmdsep.audio.covers import Cover, attach_cover
from htmdsep.audio.lame import lame_level, possible_kilobits, set_padding
from htmdsep.audio.tags import ffmpeg_tags
from htmdsep.errors import HtmdsepError
from htmdsep.options import FileFormat

MAX_ENCODED_CHANNELS = 2
LAYOUTS = ("mono", "stereo")


class Codec(NamedTuple):
    """How a format is encoded."""

    encoder: str  # FFmpeg's name; empty for libsndfile
    container: str  # FFmpeg's name, libsndfile's for Vorbis
    kilobits: int  # a second and channel, where no bit rate is asked for
    rates: tuple[int, ...]  # Hz, ascending, that the encoder takes


MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
CODECS: dict[FileFormat, Codec] = {
    "mp3": Codec("libmp3lame", "mp3", 160, MP3_RATES),
    "opus": Codec("libopus", "opus", 96, (48_000,)),
    "m4a": Codec("aac", "mp4", 128, (*MP3_RATES, 64_000, 88_200, 96_000)),
    "ogg": Codec("", "OGG", 128, (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)),
}
# Bit rates (kbit/s of stereo at 44.1 kHz) of Vorbis's qualities 0 to 10, by its encoder's table
VORBIS_KILOBITS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


def encodable_rate(file_format: FileFormat, sample_rate: int) -> int:
    """Return the rate (Hz) at which a format holds a signal: its own, else the next above."""
    codec = CODECS.get(file_format)
    if codec is None or sample_rate in codec.rates:
        return sample_rate
    return next((rate for rate in codec.rates if rate > sample_rate), codec.rates[-1])


def bits_a_second(file_format: FileFormat, channels: int, kilobits: int | None) -> int:
    """Return what a lossy file takes: what is asked for, or what suits the format."""
    return 1_000 * (kilobits or CODECS[file_format].kilobits * channels)


def vorbis_compression(kilobits: int | None) -> float:
    """Return libsndfile's compression level, 1 less a tenth of Vorbis's quality; 8 by default."""
    wanted = kilobits or 2 * CODECS["ogg"].kilobits
    return float(1 - np.interp(wanted, VORBIS_KILOBITS, np.linspace(0, 1, len(VORBIS_KILOBITS))))


class EncodedWriter:
    """An open lossy file: write float32 blocks of shape (frames, channels), full scale at 1."""

    def __init__(
        self, container: av.container.OutputContainer, stream: av.AudioStream, level: float
    ) -> None:
        """`level` is the factor by which the encoder turns sound down."""
        self.notes: list[str] = []
        self._container, self._stream = container, stream
        self._gain = np.float32(1 / level)
        self.frames = 0  # written

    def write(self, values: np.ndarray) -> None:
        """Append a block."""
        rate = self._stream.codec_context.sample_rate
        planes = np.ascontiguousarray(values.T) * self._gain
        frame = av.AudioFrame.from_ndarray(planes, "fltp", LAYOUTS[values.shape[1] - 1])
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = self.frames
        self.frames += len(values)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


@contextmanager
def open_encoded(
    path: Path,
    file_format: FileFormat,
    sample_rate: int,
    channels: int,
    *,
    kilobits: int | None,
    tags: Mapping[str, str],
    cover: Cover | None = None,
) -> Iterator[EncodedWriter]:
    """Open an MP3, Opus or M4A file for writing.

    `sample_rate` is one of the format's, `kilobits` a second those of all channels. Raises
    HtmdsepError for what the encoder does not take; OSErrors are the disk's.
    """
    check_channels(file_format, channels)
    codec = CODECS[file_format]
    level, bit_rate = 1.0, bits_a_second(file_format, channels, kilobits)
    if file_format == "mp3":
        possible = possible_kilobits(bit_rate // 1_000, sample_rate)
        level, bit_rate = lame_level(possible), 1_000 * possible
    try:
        with path.open("w+b") as file:
            with _container(file, codec, sample_rate) as container:
                container.metadata.update(ffmpeg_tags(tags))
                layout = LAYOUTS[channels - 1]
                stream = container.add_stream(codec.encoder, rate=sample_rate, layout=layout)
                assert isinstance(stream, av.AudioStream)
                stream.bit_rate = bit_rate
                stream.format = "flt" if codec.encoder == "libopus" else "fltp"
                if cover is not None:
                    attach_cover(container, cover)
                writer = EncodedWriter(container, stream, level)
                yield writer
                writer.finish()
            if file_format == "mp3":
                set_padding(file, writer.frames, stream.codec_context.frame_size)
    except (av.ArgumentError, av.EncoderNotFoundError, av.ExternalError) as error:
        raise HtmdsepError(
            f"the encoder of {file_format} refuses {bit_rate // 1_000} kbit/s at {sample_rate} Hz "
            f"in {channels} channels ({error.strerror}); give another --bitrate, or --format flac"
        ) from error


def check_channels(file_format: FileFormat, channels: int) -> None:
    """Raise HtmdsepError for more channels than lossy files are written with."""
    if file_format in CODECS and channels > MAX_ENCODED_CHANNELS:
        raise HtmdsepError(
            f"{file_format} is written with 1 or 2 channels, not {channels}; use --format flac"
        )


def _container(file: IO[bytes], codec: Codec, sample_rate: int) -> av.container.OutputContainer:
    # Without times and random numbers, so that the same input gives the same bytes; an edit list
    # is as exact as the time scale of the whole file, which is milliseconds else.
    options = {"fflags": "+bitexact"}
    if codec.container == "mp4":
        options |= {"movie_timescale": str(sample_rate), "brand": "M4A "}
    return av.open(file, "w", format=codec.container, options=options)
