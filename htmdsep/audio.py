"""Read any audio file as a stream of blocks, complete or with an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htmdsep.decoders import Decoded, decode
from htmdsep.errors import HtmdsepError
from htmdsep.options import MAX_CHANNELS, MAX_SAMPLE_RATE, Subtype

BLOCK_LENGTH = 65_536  # frames a read; what comes out does not depend on it
LONGEST_SECONDS = 1e9  # thirty years
# By more than both of these a file is shorter than its header's estimate only if it was cut.
SHORT_SECONDS = 1.0
SHORT_SHARE = 0.02


@dataclass
class AudioReader:
    """An open audio file. Iterate `blocks()` once; `notes` are complete only after that."""

    path: Path
    sample_rate: int  # Hz
    channels: int
    frames: int | None  # of the excerpt, as announced; an estimate for lossy formats
    subtype: Subtype  # the output depth that keeps what the file holds
    tags: dict[str, str]
    _decoded: Decoded
    _first: int  # the excerpt's first frame
    _last: int | None  # the frame after its last
    notes: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (frames, channels) float32 blocks of any length, all of them finite.

        Raises HtmdsepError for samples that are not finite, for damage, for a file that holds
        more than its header says, and for one that holds nothing.
        """
        position = 0
        for block in self._decoded.blocks:
            if not np.isfinite(block).all():
                bad = position + int(np.argmin(np.isfinite(block).all(axis=1)))
                raise HtmdsepError(
                    f"a sample is not finite (NaN or infinity) at {bad / self.sample_rate:.3f} s; "
                    "repair the file first"
                )
            stop = None if self._last is None else self._last - position
            excerpt = block[max(0, self._first - position) : stop]
            position += len(block)
            if len(excerpt):
                yield excerpt
            if self._last is not None and position >= self._last:
                break
        else:
            self._check_length(position)
        self.notes.extend(self._decoded.notes)
        if position <= self._first:
            raise HtmdsepError(
                f"nothing to read from {self._first / self.sample_rate:g} s on: it holds "
                f"{position / self.sample_rate:g} s"
            )

    def _check_length(self, position: int) -> None:
        """Compare the frames that came with those announced."""
        if position == 0:
            raise HtmdsepError("it holds no audio (0 frames); export it again")
        announced = self._decoded.frames
        if announced is None or announced == position:
            return
        if not self._decoded.exact:
            seconds, held = announced / self.sample_rate, position / self.sample_rate
            if seconds - held > max(SHORT_SECONDS, SHORT_SHARE * seconds):
                self.notes.append(
                    f"it may be cut: its header announces about {seconds:.1f} s, "
                    f"it holds {held:.1f} s"
                )
            return
        if position > announced:
            raise HtmdsepError(
                f"its header announces {announced} frames, but {position} were decoded; "
                "it may be several files in one: split or re-encode it"
            )
        self.notes.append(
            f"truncated: its header announces {announced} frames, it holds {position}"
        )


@contextmanager
def open_audio(
    path: Path, *, start_seconds: float = 0.0, duration_seconds: float | None = None
) -> Iterator[AudioReader]:
    """Open an audio or video file (its first audio stream), or an excerpt of it.

    Raises HtmdsepError, without the file's name, for a file that cannot be read and for an
    excerpt that cannot be.
    """
    _check_excerpt(start_seconds, duration_seconds)
    with reading(), decode(path, BLOCK_LENGTH) as decoded:
        _check_format(decoded)
        first = round(start_seconds * decoded.sample_rate)
        last = None
        if duration_seconds is not None:
            last = first + max(1, round(duration_seconds * decoded.sample_rate))
        yield AudioReader(
            path=path,
            sample_rate=decoded.sample_rate,
            channels=decoded.channels,
            frames=_excerpt_frames(decoded.frames, first, last),
            subtype=decoded.subtype,
            tags=decoded.tags,
            _decoded=decoded,
            _first=first,
            _last=last,
        )


@contextmanager
def reading() -> Iterator[None]:
    """Turn the errors of opening an input into HtmdsepError with a remedy."""
    try:
        yield
    except IsADirectoryError as error:
        raise HtmdsepError("it is a folder; give --recursive or name its files") from error
    except FileNotFoundError as error:
        raise HtmdsepError("no such file; check the path") from error
    except PermissionError as error:
        raise HtmdsepError(
            "permission to read it is denied; change that or copy the file"
        ) from error


def _check_format(decoded: Decoded) -> None:
    if not 1 <= decoded.channels <= MAX_CHANNELS:
        raise HtmdsepError(
            f"it has {decoded.channels} channels; mix it down to at most {MAX_CHANNELS}"
        )
    if not 1 <= decoded.sample_rate <= MAX_SAMPLE_RATE:
        raise HtmdsepError(
            f"its sample rate is {decoded.sample_rate} Hz; convert it to at most {MAX_SAMPLE_RATE}"
        )


def _check_excerpt(start_seconds: float, duration_seconds: float | None) -> None:
    if not 0 <= start_seconds <= LONGEST_SECONDS:
        raise HtmdsepError(f"start must be a number of seconds from 0 to 1e9, not {start_seconds}")
    if duration_seconds is not None and not 0 < duration_seconds <= LONGEST_SECONDS:
        raise HtmdsepError(
            f"duration must be a number of seconds over 0 and up to 1e9, not {duration_seconds}"
        )


def _excerpt_frames(frames: int | None, first: int, last: int | None) -> int | None:
    if frames is None:
        return None
    return max(0, (frames if last is None else min(frames, last)) - first)
