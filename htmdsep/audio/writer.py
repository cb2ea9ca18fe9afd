"""What the options come to for one source; write a stem's file, and read it back on its grid."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from htmdsep.audio.covers import Cover
from htmdsep.audio.encoders import (
    CODECS,
    EncodedWriter,
    bits_a_second,
    check_channels,
    encodable_rate,
    open_encoded,
    vorbis_compression,
)
from htmdsep.audio.lengths import AudioHeader
from htmdsep.audio.metadata import SongInfo, write_metadata
from htmdsep.audio.reader import open_audio
from htmdsep.audio.stem_file import CHANNELS as STEM_CHANNELS
from htmdsep.audio.stem_file import STREAMS
from htmdsep.audio.tags import kept_tags
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
# What libsndfile writes into a WAV
INFO_TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "copyright", "comment")
BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
WAV_LIMIT = 2**32 - 2**20  # bytes: RIFF's sizes have 32 bits; a MiB for headers and tags
# Formats with an estimated length must fit RIFF even if the estimate is off by this factor.
LENGTH_MARGIN = 2
# Of a tag in a WAV: where all of them take more than some 50 kB, libsndfile 1.2.2 writes a file
# that it cannot read (measured).
TAG_BYTES = 4_096
RF64_LENGTH = 96  # bytes of its first chunks, as libsndfile writes them


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
    def container(self) -> str:
        """What libsndfile calls the file's format; RF64 for a WAV that may pass 4 GiB."""
        if self.file_format != "wav":
            return self.file_format.upper()
        frame_bytes = self.channels * BYTES[self.subtype] * LENGTH_MARGIN
        if self.frames is None or self.frames * frame_bytes >= WAV_LIMIT:
            return "RF64"
        return "WAV" if self.channels <= 2 else "WAVEX"  # which tells the loudspeakers


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
    check_channels(options.file_format, header.channels)
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
        bits = bits_a_second(output.file_format, output.channels, output.bitrate)
        needed = round((output.seconds or 0) * bits / 8) * stems
    elif output.file_format == "flac":
        needed //= 4  # as small as FLAC makes music, roughly; the disk may still run full
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"the stems need {needed / 1e6:.1f} MB, and {folder} has {free / 1e6:.1f} MB free; "
            "make room or choose another --out"
        )


class StemWriter:
    """An open stem file: write quantised blocks of shape (frames, channels)."""

    def __init__(self, sound: soundfile.SoundFile, output: OutputFormat) -> None:
        self.notes: list[str] = []  # what a user should know, one line each
        self._sound = sound
        self._subtype = output.subtype
        self._room = WAV_LIMIT // BYTES[output.subtype]
        self._is_riff = output.container in ("WAV", "WAVEX")
        tags = kept_tags(output.tags)
        for name in (name for name in INFO_TAGS if name in tags):
            self._write_tag(name, tags[name].encode()[:TAG_BYTES].decode("utf-8", "ignore"))

    def _write_tag(self, name: str, text: str) -> None:
        try:
            setattr(self._sound, name, text)
        except soundfile.LibsndfileError as error:
            self.notes.append(f"its tag {name} was not kept ({error.error_string.rstrip('.')})")

    def write(self, values: np.ndarray) -> None:
        """Append a block in the subtype's units: int32 least significant bits, or float32."""
        self._room -= values.size
        if self._room < 0 and self._is_riff:
            raise HtmdsepError(
                "the file is far longer than announced and outgrows a WAV; use --format flac"
            )
        if self._subtype == "PCM_16":
            values = values.astype(np.int16)
        elif self._subtype == "PCM_24":
            values = values << 8  # libsndfile takes the upper 24 of 32 bits
        self._sound.write(values)


@contextmanager
def open_stem(path: Path, output: OutputFormat) -> Iterator[StemWriter | EncodedWriter]:
    """Open a file for a stem, or for all (see `stem_streams`).

    A WAV is RF64 in the end only if it has passed 4 GiB.

    Raises HtmdsepError where the format cannot hold the subtype, rate or channels, where the
    folder cannot be written, and where the disk is full.
    """
    if output.file_format == "flac" and output.subtype == "FLOAT":
        raise HtmdsepError("FLAC holds no floats; use --int24 or --format wav")
    is_vorbis = output.file_format == "ogg"
    info = SongInfo(output.tags, output.cover)
    if output.file_format in CODECS and not is_vorbis:
        is_stem_file = output.file_format == STEM_FILE
        channels = STEM_CHANNELS if is_stem_file else output.channels
        form = (output.file_format, output.sample_rate, channels)
        depth = "s32" if output.subtype == "PCM_24" else None
        with open_encoded(
            path, *form, info, kilobits=output.bitrate, sample_format=depth
        ) as writer:
            yield writer
        return
    try:
        with soundfile.SoundFile(
            _native_path(path),
            "w",
            output.sample_rate,
            output.channels,
            "VORBIS" if is_vorbis else output.subtype,
            format=output.container,
            compression_level=vorbis_compression(output.bitrate) if is_vorbis else None,
        ) as sound:
            yield StemWriter(sound, output)
        if output.container == "RF64":
            _shrink_header(path, output.channels)
        if output.subtype == "FLOAT" and output.file_format == "wav":
            _remove_time(path)
        with path.open("r+b") as file:
            write_metadata(file, output.file_format, info)
    except soundfile.LibsndfileError as error:
        # 2 is libsndfile's "System error", whose errno it does not hand on
        kind = DiskError if error.code == 2 else HtmdsepError
        raise kind(_cause(path, output, error)) from error


def _cause(path: Path, output: OutputFormat, error: soundfile.LibsndfileError) -> str:
    cause = error.error_string.rstrip(".")
    told = (
        f"cannot write {output.file_format} ({output.subtype}, {output.sample_rate} Hz, "
        f"{output.channels} channels) into {path.parent}: {cause}"
    )
    if error.code == 2:
        return f"{told}; check the space and the permissions there, or choose another --out"
    return f"{told}; choose another --format, depth or --sample-rate"


def _shrink_header(path: Path, channels: int) -> None:
    """Make a plain WAV of an RF64 that has stayed below 4 GiB: more programs read that.

    libsndfile begins an RF64 with two chunks of fixed sizes, ds64 (the true sizes) and fmt; tags
    and data follow.
    """
    with path.open("r+b") as file:
        head = file.read(RF64_LENGTH)
        riff_bytes, data_bytes = struct.unpack_from("<QQ", head, 20)
        if head[12:16] != b"ds64" or head[48:52] != b"fmt " or riff_bytes >= WAV_LIMIT:
            return
        form = head[48:]
        if channels <= 2:  # the plain form: the sample format's code, and 14 bytes as they are
            form = b"fmt " + struct.pack("<I", 16) + head[80:82] + head[58:72]
        padding = bytes(RF64_LENGTH - 20 - len(form))
        file.seek(0)
        file.write(b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE")
        file.write(b"JUNK" + struct.pack("<I", len(padding)) + padding + form)
        while (chunk := file.read(8))[:4] != b"data":
            file.seek(int.from_bytes(chunk[4:], "little"), os.SEEK_CUR)
        file.seek(-4, os.SEEK_CUR)
        file.write(struct.pack("<I", data_bytes))


def _remove_time(path: Path) -> None:
    """Take the time of writing out of a float file's PEAK chunk: same input, same bytes."""
    with path.open("r+b") as file:
        file.seek(12)
        while (chunk := file.read(8))[:4] not in (b"PEAK", b"data", b""):
            size = int.from_bytes(chunk[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
        if chunk[:4] == b"PEAK":
            file.seek(4, os.SEEK_CUR)
            file.write(bytes(4))


def frame_count(path: Path, output: OutputFormat) -> int:
    """Return how many frames a finished file holds; lossy ones are decoded.

    Streams of different lengths count as none.
    """
    if output.is_lossy:
        number = len(STREAMS) if output.file_format == STEM_FILE else 1
        lengths = {_decoded_length(path, stream) for stream in range(number)}
        return max(lengths) if len(lengths) == 1 else 0
    with soundfile.SoundFile(_native_path(path)) as sound:
        return int(sound.frames)


def _decoded_length(path: Path, stream: int) -> int:
    with open_audio(path, stream=stream) as reader:
        return sum(map(len, reader.blocks()))


def read_stem(path: Path, subtype: Subtype, block_length: int) -> Iterator[np.ndarray]:
    """Yield a stem file's blocks in its subtype's units; 16 bits as int16."""
    dtype = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}[subtype]
    with soundfile.SoundFile(_native_path(path)) as sound:
        while len(block := sound.read(block_length, dtype=dtype, always_2d=True)):
            yield block >> 8 if subtype == "PCM_24" else block


def _native_path(path: Path) -> Path | bytes:
    """Return a path as soundfile takes it whatever bytes the name holds."""
    return os.fsencode(path) if os.name == "posix" else path
