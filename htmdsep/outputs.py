"""What the options come to for one source: how it is written, and whether there is room."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htmdsep.audio import AudioReader
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.options import MAX_SAMPLE_RATE, ClipMode, FileFormat, RunOptions, Subtype
from htmdsep.quantise import BITS
from htmdsep.stemfile import BYTES

FLAC_MAX_SAMPLE_RATE = 655_350  # Hz


@dataclass(frozen=True)
class Output:
    """What the options come to for one source."""

    file_format: FileFormat
    subtype: Subtype
    sample_rate: int
    channels: int
    frames: int | None  # expected
    clip_mode: ClipMode
    tags: Mapping[str, str]

    @property
    def seconds(self) -> float | None:
        """The expected length; None where unknown."""
        return None if self.frames is None else self.frames / self.sample_rate

    @property
    def full_scale(self) -> float:
        """The largest sample that the sample format holds; of floats, what others can hold."""
        return 1.0 if self.subtype == "FLOAT" else 1 - 2.0 ** (1 - BITS[self.subtype])


def plan_output(reader: AudioReader, options: RunOptions) -> Output:
    """Settle what the options leave to the source; raise HtmdsepError for what cannot be."""
    subtype = options.subtype or reader.subtype
    if options.file_format == "flac" and options.subtype is None and subtype == "FLOAT":
        subtype = "PCM_24"  # as much of it as FLAC can hold
    clip_mode = options.clip_mode or ("none" if subtype == "FLOAT" else "clamp")
    if clip_mode == "none" and subtype != "FLOAT":
        raise HtmdsepError(
            f"{subtype} holds nothing beyond full scale, so --clip-mode none needs --float32"
        )
    sample_rate = reader.sample_rate if options.sample_rate is None else options.sample_rate
    if not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"sample rate must lie between 1 and {MAX_SAMPLE_RATE} Hz, not {sample_rate}"
        )
    if options.file_format == "flac" and sample_rate > FLAC_MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"FLAC holds at most {FLAC_MAX_SAMPLE_RATE} Hz, not {sample_rate}; use --format wav"
        )
    frames = reader.frames
    if frames is not None:
        frames = round(frames * sample_rate / reader.sample_rate)
    return Output(
        file_format=options.file_format,
        subtype=subtype,
        sample_rate=sample_rate,
        channels=reader.channels,
        frames=frames,
        clip_mode=clip_mode,
        tags=reader.tags,
    )


def check_space(output: Output, folder: Path, stems: int) -> None:
    """Raise HtmdsepError, early, for what the disk cannot hold, where the length is known."""
    needed = (output.frames or 0) * output.channels * BYTES[output.subtype] * stems
    if output.file_format == "flac":
        needed //= 4  # as small as FLAC makes music, roughly; the disk may still run full
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"the stems need {needed / 1e6:.0f} MB, and {folder} has {free / 1e6:.0f} MB free; "
            "make room or choose another --out"
        )
