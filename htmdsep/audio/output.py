"""What the options come to for one source: rates, bits and room of its stems."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from htmdsep.audio.covers import Cover
from htmdsep.audio.lengths import AudioHeader
from htmdsep.audio.stem_file import CHANNELS as STEM_CHANNELS
from htmdsep.dsp.quantise import BITS
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.options import (
    LOSSY,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    STEM_FILE,
    ClipMode,
    FileFormat,
    RunOptions,
    Subtype,
)

FLAC_MAX_SAMPLE_RATE = 655_350  # Hz
MAX_LOSSY_CHANNELS = 2
BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
WAV_LIMIT = 2**32 - 2**20  # bytes: RIFF's sizes have 32 bits; a MiB for headers and tags
# Formats with an estimated length must fit RIFF even if the estimate is off by this factor.
LENGTH_MARGIN = 2


class Codec(NamedTuple):
    """How a format is encoded."""

    encoder: str  # FFmpeg's name; empty for libsndfile
    container: str  # FFmpeg's name, libsndfile's for Vorbis
    kilobits: int  # a second and channel, where no bit rate is asked for; 0: it has none
    rates: tuple[int, ...]  # Hz, ascending, that the encoder takes; empty: all
    sample_format: str = "fltp"  # FFmpeg's name


MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
AAC = Codec("aac", "mp4", 128, (*MP3_RATES, 64_000, 88_200, 96_000))
CODECS: dict[FileFormat, Codec] = {
    "flac": Codec("flac", "flac", 0, (), "s16"),
    "mp3": Codec("libmp3lame", "mp3", 160, MP3_RATES),
    "opus": Codec("libopus", "opus", 96, (48_000,), "flt"),
    "m4a": AAC,
    STEM_FILE: AAC,
    "ogg": Codec("", "OGG", 128, (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)),
}


@dataclass(frozen=True)
class OutputFormat:
    """What the options come to for one source."""

    file_format: FileFormat
    subtype: Subtype
    sample_rate: int  # Hz
    channels: int
    frames: int | None  # expected; None where unknown
    clip_mode: ClipMode
    tags: Mapping[str, str]
    cover: Cover | None = None
    bitrate: int | None = None  # kbit/s of a lossy file; None for what suits the format
    loudness: float | None = None  # LUFS of the stems' sum; None for the mixture's

    @property
    def seconds(self) -> float | None:
        """The expected length; None where unknown."""
        return None if self.frames is None else self.frames / self.sample_rate

    @property
    def full_scale(self) -> float:
        """The largest sample that the sample format holds; of floats, what others can hold."""
        return 1.0 if self.subtype == "FLOAT" else 1 - 2.0 ** (1 - BITS[self.subtype])

    @property
    def is_lossy(self) -> bool:
        """Whether the files hold something like what is written, and not that itself."""
        return self.file_format in LOSSY

    @property
    def file_channels(self) -> int:
        """The channels of a file, or of each stream of a stem file."""
        return STEM_CHANNELS if self.file_format == STEM_FILE else self.channels

    @property
    def bits_a_second(self) -> int:
        """What a lossy file, or stream, takes: what is asked for, or what suits the format."""
        return 1_000 * (self.bitrate or CODECS[self.file_format].kilobits * self.file_channels)

    @property
    def container(self) -> str:
        """What libsndfile calls the file's format; RF64 for a WAV that may pass 4 GiB."""
        if self.file_format != "wav":
            return self.file_format.upper()
        frame_bytes = self.channels * BYTES[self.subtype] * LENGTH_MARGIN
        if self.frames is None or self.frames * frame_bytes >= WAV_LIMIT:
            return "RF64"
        return "WAV" if self.channels <= 2 else "WAVEX"  # which tells the loudspeakers


def encodable_rate(file_format: FileFormat, sample_rate: int) -> int:
    """Return the rate (Hz) at which a format holds a signal: its own, else the next above."""
    codec = CODECS.get(file_format)
    if codec is None or not codec.rates or sample_rate in codec.rates:
        return sample_rate
    return next((rate for rate in codec.rates if rate > sample_rate), codec.rates[-1])


def plan_output(header: AudioHeader, frames: int | None, options: RunOptions) -> OutputFormat:
    """Settle what the options leave to the source, of whose frames some may be asked for.

    Raises HtmdsepError for what cannot be.
    """
    is_lossy = options.file_format in LOSSY
    subtype = "FLOAT" if is_lossy else options.subtype or header.subtype
    if options.file_format == "flac" and options.subtype is None and subtype == "FLOAT":
        subtype = "PCM_24"  # as much of it as FLAC can hold
    is_float = subtype == "FLOAT" and not is_lossy  # players cut off what lossy files exceed
    clip_mode = options.clip_mode or ("none" if is_float else "clamp")
    if clip_mode == "none" and subtype != "FLOAT":
        raise HtmdsepError(
            f"{subtype} holds nothing beyond full scale, so --clip-mode none needs --float32"
        )
    sample_rate = header.sample_rate if options.sample_rate is None else options.sample_rate
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"sample rate must lie between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz, not "
            f"{sample_rate}"
        )
    if options.file_format == "flac" and sample_rate > FLAC_MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"FLAC holds at most {FLAC_MAX_SAMPLE_RATE} Hz, not {sample_rate}; use --format wav"
        )
    if is_lossy and header.channels > MAX_LOSSY_CHANNELS:
        raise HtmdsepError(
            f"{options.file_format} is written with 1 or 2 channels, not {header.channels}; use "
            "--format flac"
        )
    sample_rate = encodable_rate(options.file_format, sample_rate)
    if frames is not None:
        frames = round(frames * sample_rate / header.sample_rate)
    return OutputFormat(
        file_format=options.file_format,
        subtype=subtype,
        sample_rate=sample_rate,
        channels=header.channels,
        frames=frames,
        clip_mode=clip_mode,
        tags=header.tags,
        bitrate=options.bitrate,
        loudness=options.loudness,
    )


def check_space(output: OutputFormat, folder: Path, stems: int) -> None:
    """Raise HtmdsepError, early, for what the disk cannot hold, where the length is known."""
    needed = (output.frames or 0) * output.channels * BYTES[output.subtype] * stems
    if output.is_lossy:
        stems = 3 if output.file_format == STEM_FILE else stems  # the other streams are silent
        needed = round((output.seconds or 0) * output.bits_a_second / 8) * stems
    elif output.file_format == "flac":
        needed //= 4  # as small as FLAC makes music, roughly; the disk may still run full
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"the stems need {needed / 1e6:.1f} MB, and {folder} has {free / 1e6:.1f} MB free; "
            "make room or choose another --out"
        )
