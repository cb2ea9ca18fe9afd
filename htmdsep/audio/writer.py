"""Write a stem's file, and read it back on its grid."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile

from htmdsep.audio.encoders import EncodedWriter, open_encoded, vorbis_compression
from htmdsep.audio.metadata import write_metadata
from htmdsep.audio.output import BYTES, CODECS, WAV_LIMIT, OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.stem_file import STREAMS
from htmdsep.audio.tags import kept_tags
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.options import STEM_FILE, Subtype

# What libsndfile writes into a WAV
INFO_TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "copyright", "comment")
# Of a tag in a WAV: where all of them take more than some 50 kB, libsndfile 1.2.2 writes a file
# that it cannot read (measured).
TAG_BYTES = 4_096
RF64_LENGTH = 96  # bytes of its first chunks, as libsndfile writes them


class StemWriter:
    """An open stem file: write quantised blocks of shape (frames, channels), see `Quantised`."""

    def __init__(self, sound: soundfile.SoundFile, output: OutputFormat) -> None:
        self._sound = sound
        self._room = WAV_LIMIT // BYTES[output.subtype]
        self._is_riff = output.container in ("WAV", "WAVEX")
        tags = kept_tags(output.tags)
        for name in (name for name in INFO_TAGS if name in tags):
            with suppress(soundfile.LibsndfileError):  # all are in the ID3 tag, too
                setattr(sound, name, tags[name].encode()[:TAG_BYTES].decode("utf-8", "ignore"))

    def write(self, values: np.ndarray) -> None:
        """Append a block."""
        self._room -= values.size
        if self._room < 0 and self._is_riff:
            raise HtmdsepError(
                "the file is far longer than announced and outgrows a WAV; use --format flac"
            )
        self._sound.write(values)


@contextmanager
def open_stem(path: Path, output: OutputFormat) -> Iterator[StemWriter | EncodedWriter]:
    """Open a file for a stem, or for all (see `stem_streams`).

    A WAV is RF64 in the end only if it has passed 4 GiB.

    Raises HtmdsepError where the format cannot hold the rate or channels, where the folder cannot
    be written, and where the disk is full.
    """
    is_vorbis = output.file_format == "ogg"
    if output.file_format in CODECS and not is_vorbis:
        with open_encoded(path, output) as writer:
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
            write_metadata(file, output)
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
    """Yield a stem file's blocks as they were written (see `Quantised`)."""
    dtype = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}[subtype]
    with soundfile.SoundFile(_native_path(path)) as sound:
        while len(block := sound.read(block_length, dtype=dtype, always_2d=True)):
            yield block


def _native_path(path: Path) -> Path | bytes:
    """Return a path as soundfile takes it whatever bytes the name holds."""
    return os.fsencode(path) if os.name == "posix" else path
