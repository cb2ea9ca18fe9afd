"""An encoder's file, aligned to the sample.

FLAC, MP3, Opus and AAC are encoded by FFmpeg, whose containers tell of the encoder's delay and
padding: a LAME header, Ogg's pre-skip and granule positions, an MP4's edit list. Vorbis, for which
PyAV's FFmpeg has no encoder but an experimental one, is libsndfile's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np

from htmdsep.audio.lame import lame_level, possible_kilobits, set_padding
from htmdsep.audio.metadata import header_room, write_metadata
from htmdsep.audio.output import CODECS, OutputFormat
from htmdsep.audio.stem_file import STREAMS
from htmdsep.audio.tags import mp4_tags
from htmdsep.errors import HtmdsepError
from htmdsep.options import STEM_FILE

PCM = ("s16", "s32")  # sample formats, the second for 24 bits
LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # as FLAC has them

# Bit rates (kbit/s of stereo at 44.1 kHz) of Vorbis's qualities 0 to 10, by its encoder's table
VORBIS_KILOBITS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


def vorbis_compression(kilobits: int | None) -> float:
    """Return libsndfile's compression level, 1 less a tenth of Vorbis's quality; 8 by default."""
    wanted = kilobits or 2 * CODECS["ogg"].kilobits
    return float(1 - np.interp(wanted, VORBIS_KILOBITS, np.linspace(0, 1, len(VORBIS_KILOBITS))))


class EncodedWriter:
    """An open encoded file: write blocks of shape (frames, channels of all its streams).

    They are float32 with full scale at 1, or for FLAC integers (see `Quantised`).
    """

    def __init__(
        self, container: av.container.OutputContainer, streams: list[av.AudioStream], level: float
    ) -> None:
        """`level` is the factor by which the encoder turns sound down."""
        self._container, self._streams = container, streams
        self._gain = np.float32(1 / level)
        self.frames = 0  # written

    def write(self, values: np.ndarray) -> None:
        """Append a block."""
        for stream, part in zip(self._streams, np.hsplit(values, len(self._streams)), strict=True):
            frame = self._frame(part, stream.format.name)
            rate = stream.codec_context.sample_rate
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), self.frames
            self._container.mux(stream.encode(frame))
        self.frames += len(values)

    def _frame(self, values: np.ndarray, kind: str) -> av.AudioFrame:
        layout = LAYOUTS[values.shape[1] - 1]
        if kind not in PCM:
            planes = np.ascontiguousarray(values.T) * self._gain
            return av.AudioFrame.from_ndarray(planes, "fltp", layout)
        return av.AudioFrame.from_ndarray(values.reshape(1, -1), kind, layout)

    def finish(self) -> None:
        """Encode what the encoders still hold."""
        for stream in self._streams:
            self._container.mux(stream.encode(None))


@contextmanager
def open_encoded(path: Path, output: OutputFormat) -> Iterator[EncodedWriter]:
    """Open a FLAC, MP3, Opus, M4A or stem file for writing.

    Raises HtmdsepError for what the encoder does not take; OSErrors are the disk's.
    """
    level, bit_rate = 1.0, output.bits_a_second
    if output.file_format == "mp3":
        possible = possible_kilobits(bit_rate // 1_000, output.sample_rate)
        level, bit_rate = lame_level(possible), 1_000 * possible
    try:
        with path.open("w+b") as file:
            with _container(file, output) as container:
                names = STREAMS if output.file_format == STEM_FILE else ("",)
                streams = [_add_stream(container, output, name) for name in names]
                for stream in streams:
                    stream.bit_rate = bit_rate
                writer = EncodedWriter(container, streams, level)
                yield writer
                writer.finish()
            if output.file_format == "mp3":
                set_padding(file, writer.frames, streams[0].codec_context.frame_size)
            write_metadata(file, output)
    except (av.ArgumentError, av.EncoderNotFoundError, av.ExternalError) as error:
        raise HtmdsepError(
            f"the encoder of {output.file_format} refuses {bit_rate // 1_000} kbit/s at "
            f"{output.sample_rate} Hz in {output.file_channels} channels ({error.strerror}); give "
            "another --bitrate, or --format flac"
        ) from error


def _add_stream(
    container: av.container.OutputContainer, output: OutputFormat, name: str
) -> av.AudioStream:
    codec, layout = CODECS[output.file_format], LAYOUTS[output.file_channels - 1]
    stream = container.add_stream(codec.encoder, rate=output.sample_rate, layout=layout)
    assert isinstance(stream, av.AudioStream)
    stream.format = "s32" if output.subtype == "PCM_24" else codec.sample_format
    if name:
        stream.metadata["handler_name"] = name
    return stream


def _container(file: IO[bytes], output: OutputFormat) -> av.container.OutputContainer:
    kind = CODECS[output.file_format].container
    # Without times and random numbers, so that the same input gives the same bytes; an edit list
    # is as exact as the time scale of the whole file, which is milliseconds else.
    options = {"fflags": "+bitexact", "metadata_header_padding": str(header_room(output))}
    if kind == "mp4":
        options |= {"movie_timescale": str(output.sample_rate), "brand": "M4A "}
    container = av.open(file, "w", format=kind, options=options)
    if kind == "mp4":
        container.metadata.update(mp4_tags(output.tags))
    return container
