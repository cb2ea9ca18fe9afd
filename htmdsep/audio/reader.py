"""Read any audio file as a stream of blocks, complete or with an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htmdsep.audio.decoders import open_decoder
from htmdsep.audio.lengths import AudioHeader, check_length
from htmdsep.audio.parts import whole
from htmdsep.errors import HtmdsepError
from htmdsep.files import reading
from htmdsep.options import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

LONGEST_SECONDS = 1e9  # thirty years
# Full scale at 1: 120 dB above it, and above floats that were scaled as 16-bit integers. One such
# sample drowns all else in a segment.
MAX_SAMPLE = 1e6


@dataclass
class AudioReader:
    """An open audio file. Iterate `blocks()` once; `notes` are complete only after that."""

    header: AudioHeader
    frames: int | None  # of the excerpt, as announced; None where nothing is
    notes: list[str]  # what a user should know, one line each
    _blocks: Iterator[np.ndarray]  # of the whole file
    _first: int  # the excerpt's first frame
    _last: int | None  # the frame after its last

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (frames, channels) float32 blocks of any length, all of them within +-1e6.

        Raises HtmdsepError for other samples, and for a file that holds nothing, be it by damage.
        """
        position = 0
        for block in self._blocks:
            self._check_samples(block, position)
            stop = None if self._last is None else self._last - position
            excerpt = block[max(0, self._first - position) : stop]
            position += len(block)
            if len(excerpt):
                yield excerpt
            if self._last is not None and position >= self._last:
                break
        else:
            self.notes += check_length(self.header, position)
        if position <= self._first:
            rate = self.header.sample_rate
            raise HtmdsepError(
                f"nothing to read from {self._first / rate:g} s on: it holds {position / rate:g} s"
            )

    def _check_samples(self, block: np.ndarray, position: int) -> None:
        if block.size == 0 or (block.min() >= -MAX_SAMPLE and block.max() <= MAX_SAMPLE):
            return  # not so with NaN among them
        sound = np.abs(block) <= MAX_SAMPLE
        frame, channel = np.argwhere(~sound)[0]
        seconds = (position + int(frame)) / self.header.sample_rate
        value = float(block[frame, channel])
        told = f"{value:.3g}" if np.isfinite(value) else "not finite (NaN or infinity)"
        raise HtmdsepError(
            f"a sample is {told} at {seconds:.3f} s, where full scale is 1; repair the file first"
        )


@contextmanager
def open_audio(
    path: Path,
    *,
    stream: int | None = None,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
) -> Iterator[AudioReader]:
    """Open an audio stream of an audio or video file, or an excerpt of it.

    Without a number it is the first, and others are noted.
    Raises HtmdsepError, without the file's name, for a file that cannot be read and for an
    excerpt that cannot be.
    """
    _check_excerpt(start_seconds, duration_seconds)
    with reading(), ExitStack() as stack:
        file = whole(stack.enter_context(path.open("rb")))
        if path.suffix.isascii():
            file.name = f"file{path.suffix}"
        notes: list[str] = []
        header, blocks = open_decoder(file, stream, notes, stack)
        _check_format(header)
        first = round(start_seconds * header.sample_rate)
        last = None
        if duration_seconds is not None:
            last = first + max(1, round(duration_seconds * header.sample_rate))
        frames = header.frames
        if frames is not None:
            frames = max(0, (frames if last is None else min(frames, last)) - first)
        yield AudioReader(header, frames, notes, blocks, first, last)


def _check_format(header: AudioHeader) -> None:
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise HtmdsepError(
            f"it has {header.channels} channels; mix it down to at most {MAX_CHANNELS}"
        )
    if not MIN_SAMPLE_RATE <= header.sample_rate <= MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"its sample rate is {header.sample_rate} Hz; convert it to one from "
            f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )


def _check_excerpt(start_seconds: float, duration_seconds: float | None) -> None:
    if not 0 <= start_seconds <= LONGEST_SECONDS:
        raise HtmdsepError(f"start must be a number of seconds from 0 to 1e9, not {start_seconds}")
    if duration_seconds is not None and not 0 < duration_seconds <= LONGEST_SECONDS:
        raise HtmdsepError(
            f"duration must be a number of seconds over 0 and up to 1e9, not {duration_seconds}"
        )
