"""Write a stem's file, and read it back on its grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from htmdsep.decoders import native_path
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.options import FileFormat, Subtype

BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
WAV_LIMIT = 2**32 - 2**20  # bytes: RIFF's sizes have 32 bits; a MiB for headers and tags
# Formats with an estimated length must fit RIFF even if the estimate is off by this factor.
LENGTH_MARGIN = 2
# Of a tag in a WAV: where all of them take more than some 50 kB, libsndfile 1.2.2 writes a file
# that it cannot read (measured).
TAG_BYTES = 4_096
TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "copyright", "comment")


class StemWriter:
    """An open stem file: write quantised blocks of shape (frames, channels)."""

    def __init__(self, sound: soundfile.SoundFile, subtype: Subtype) -> None:
        self._sound = sound
        self._subtype = subtype
        is_riff = sound.format in ("WAV", "WAVEX")
        self._room = WAV_LIMIT // BYTES[subtype] if is_riff else None

    def write(self, values: np.ndarray) -> None:
        """Append a block in the subtype's units: int32 least significant bits, or float32."""
        if self._room is not None:
            self._room -= values.size
            if self._room < 0:
                raise HtmdsepError(
                    "the file is far longer than announced and outgrows a WAV; use --format flac"
                )
        if self._subtype == "PCM_16":
            values = values.astype(np.int16)
        elif self._subtype == "PCM_24":
            values = values << 8  # libsndfile takes the upper 24 of 32 bits
        self._sound.write(values)


@contextmanager
def open_stem(
    path: Path,
    *,
    file_format: FileFormat,
    subtype: Subtype,
    sample_rate: int,
    channels: int,
    frames: int | None,
    tags: Mapping[str, str],
) -> Iterator[StemWriter]:
    """Open a stem file for writing; a WAV that may pass 4 GiB is written as RF64.

    `frames` is the expected length, None where unknown. Raises HtmdsepError where the format
    cannot hold the subtype, rate or channels, where the folder cannot be written, and where
    the disk is full.
    """
    kind = "FLAC"
    if file_format == "wav":
        size = None if frames is None else frames * channels * BYTES[subtype] * LENGTH_MARGIN
        riff = "WAV" if channels <= 2 else "WAVEX"  # which says which loudspeakers they are for
        kind = riff if size is not None and size < WAV_LIMIT else "RF64"
    elif subtype == "FLOAT":
        raise HtmdsepError("FLAC holds no floats; use --int24 or --format wav")
    try:
        with soundfile.SoundFile(
            native_path(path), "w", sample_rate, channels, subtype, format=kind
        ) as sound:
            for name in TAGS:
                if name in tags:
                    setattr(sound, name, tags[name] if kind == "FLAC" else _shortened(tags[name]))
            yield StemWriter(sound, subtype)
    except soundfile.LibsndfileError as error:
        cause = error.error_string.rstrip(".")
        raise DiskError(
            f"cannot write {file_format} ({subtype}, {sample_rate} Hz, {channels} channels) into "
            f"{path.parent}: {cause}; check the space and the permissions there, or choose "
            "another --out"
        ) from error


def _shortened(text: str) -> str:
    return text.encode("utf-8", "replace")[:TAG_BYTES].decode("utf-8", "ignore")


def frame_count(path: Path) -> int:
    """Return how many frames a finished stem file holds."""
    with soundfile.SoundFile(native_path(path)) as sound:
        return int(sound.frames)


def read_stem(path: Path, subtype: Subtype, block_length: int) -> Iterator[np.ndarray]:
    """Yield a stem file's blocks in its subtype's units; 16 bits as int16."""
    dtype = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}[subtype]
    with soundfile.SoundFile(native_path(path)) as sound:
        while len(block := sound.read(block_length, dtype=dtype, always_2d=True)):
            yield block >> 8 if subtype == "PCM_24" else block
