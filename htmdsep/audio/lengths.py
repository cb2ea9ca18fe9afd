"""What a file announces, what its timestamps cover, and what was decoded: whether they agree.

This is the one place that decides what becomes of a file that is cut or damaged, or whose header
is wrong: every sample stands at its own time, silence stands for what is lost, and what the three
do not agree on is an error or a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from htmdsep.errors import HtmdsepError
from htmdsep.options import Subtype

# By less than this a lossy file's length may miss what its header says: delay and padding.
LOSSY_SECONDS = 0.1
MAX_TRAILING = 8  # packets of it that a tag or a cut may spoil at its end
LEAST_JUMP_SECONDS = 0.0025  # of timestamps in milliseconds, which are off by up to one each
REPEATED_SECONDS = 1.0  # by more than this, timestamps that go back have begun anew
LONGEST_HOLE_SECONDS = 60.0  # where nothing says how long the file is
SILENCE_LENGTH = 65_536  # frames of silence at once


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself."""

    sample_rate: int  # Hz
    channels: int
    frames: int | None  # as announced; None where nothing is
    exact: bool  # whether the announced number is meant to the frame
    subtype: Subtype  # the output depth that keeps what the file holds
    tags: Mapping[str, str]


class Timeline:
    """Puts decoded pieces at the times that their timestamps say."""

    def __init__(
        self, header: AudioHeader, longest: int | None, begin: float | None = None
    ) -> None:
        """`longest` is how many frames the file can hold, None where nothing tells.

        `begin` is the timestamp, in frames, of the beginning; None for that of the first piece.
        """
        self._header = header
        self._longest = longest
        self._position = 0  # frames passed on
        self._offset = begin  # of a timestamp from its place, in frames
        self._expected = begin or 0.0  # the timestamp of what follows without a gap
        self._last_length = 0
        self._doubtful: tuple[np.ndarray, float] | None = None  # a piece that waits
        self._holes: list[tuple[int, int]] = []  # where, and how many frames
        self._repeats: list[tuple[int, int]] = []
        self._restarts: list[int] = []  # where timestamps began anew
        self._damaged: list[int] = []  # where packets could not be decoded
        self._trailing = 0  # of these, since the last that could

    def damage(self, start: float | None) -> None:
        """Take note of a packet that cannot be decoded, and of where the first one began."""
        if self._offset is None and not self._damaged and start is not None:
            self._offset, self._expected = start, start
        self._damaged.append(self._position)
        self._trailing += 1

    def place(self, samples: np.ndarray, start: float | None) -> Iterable[np.ndarray]:
        """Return (frames, channels) samples that start at a timestamp in frames, None if unknown.

        Silence comes before them where something is missing, and what was there already is cut
        off. A piece whose timestamp jumps waits for the next: where that is as if nothing had
        happened, the timestamp was wrong.
        """
        self._trailing = 0
        if start is None:
            start = self._expected
        if self._offset is None:
            self._offset = self._expected = start
        if self._doubtful is None and not self._jumps(start, self._expected, len(samples)):
            return self._passed_on(samples, start + len(samples))  # nearly always
        return self._placed_by_jumps(samples, start)

    def _placed_by_jumps(self, samples: np.ndarray, start: float) -> Iterator[np.ndarray]:
        if self._doubtful is not None:
            waiting, jumped = self._doubtful
            self._doubtful = None
            is_back = not self._jumps(start, self._expected + len(waiting), len(samples))
            yield from self._put(waiting, self._expected if is_back else jumped)
        if self._jumps(start, self._expected, len(samples)):
            self._doubtful = samples, start
        else:
            yield from self._put(samples, start)

    def finish(self) -> Iterator[np.ndarray]:
        """Yield what still waits."""
        if self._doubtful is not None:
            yield from self._put(*self._doubtful)
            self._doubtful = None

    def _jumps(self, start: float, expected: float, length: int) -> bool:
        shortest = min(length, self._last_length or length)
        least = max(LEAST_JUMP_SECONDS * self._header.sample_rate, shortest / 2)
        return abs(start - expected) > least

    def _put(self, samples: np.ndarray, start: float) -> Iterator[np.ndarray]:
        end = start + len(samples)
        if self._jumps(start, self._expected, len(samples)):
            shift = round(start - (self._offset or 0.0)) - self._position
            yield from self._silence(shift, start)
            samples = samples[self._repeated(shift, start, len(samples)) :]
        yield from self._passed_on(samples, end)

    def _passed_on(self, samples: np.ndarray, end: float) -> tuple[np.ndarray, ...]:
        self._last_length = len(samples)
        if not self._last_length:
            return ()
        self._expected = end
        self._position += self._last_length
        return (samples,)

    def _silence(self, shift: int, start: float) -> Iterator[np.ndarray]:
        if shift <= 0:
            return
        room = LONGEST_HOLE_SECONDS * self._header.sample_rate
        if self._longest is not None:
            room = self._longest - self._position
        if shift > room:
            self._restart(start)
            return
        self._holes.append((self._position, shift))
        self._position += shift
        for done in range(0, shift, SILENCE_LENGTH):
            yield np.zeros((min(SILENCE_LENGTH, shift - done), self._header.channels), np.float32)

    def _repeated(self, shift: int, start: float, length: int) -> int:
        """Return how many frames of a piece are there already."""
        if shift >= 0:
            return 0
        header = self._header
        goes_far = -shift > REPEATED_SECONDS * header.sample_rate
        is_full = header.exact and header.frames is not None and self._position >= header.frames
        if goes_far or is_full or start - (self._offset or 0.0) < length:  # a file joined to this
            self._restart(start)
            return 0
        repeated = min(-shift, length)
        self._repeats.append((self._position, repeated))
        return repeated

    def _restart(self, start: float) -> None:
        self._offset = start - self._position
        self._restarts.append(self._position)

    def notes(self) -> list[str]:
        """Return what a user should know, once all is decoded."""
        notes = []
        if self._holes:
            notes.append(f"damaged: silence stands for what is lost, {self._told(self._holes)}")
        elif inner := len(self._damaged) - self._trailing:
            notes.append(
                f"{inner} damaged packets were left out, the first after "
                f"{self._damaged[0] / self._header.sample_rate:.3f} s"
            )
        announced = self._header.frames
        is_complete = announced is None or (self._header.exact and self._position >= announced)
        if self._trailing > (0 if is_complete else MAX_TRAILING):
            what = "its end" if announced is None else "what follows its announced end"
            notes.append(f"damaged or cut: {what} could not be decoded")
        if self._repeats:
            notes.append(f"what comes twice was left out, {self._told(self._repeats)}")
        if self._restarts:
            notes.append(
                "its timestamps begin anew "
                f"after {self._restarts[0] / self._header.sample_rate:.3f} s; what follows there "
                "was joined without a gap"
            )
        return notes

    def _told(self, places: list[tuple[int, int]]) -> str:
        rate = self._header.sample_rate
        seconds = sum(length for _, length in places) / rate
        return f"{seconds:.3f} s in all, the first at {places[0][0] / rate:.3f} s"


def check_length(header: AudioHeader, held: int) -> list[str]:
    """Compare the frames that a whole file held with those announced; return notes.

    Raises HtmdsepError for a file that holds nothing.
    """
    if held == 0:
        raise HtmdsepError("it holds no audio (0 frames); export it again")
    announced = header.frames
    if announced is None or announced == held:
        return []
    if header.exact:
        told = f"its header announces {announced} frames, it holds {held}"
        return [f"truncated: {told}" if held < announced else f"{told}, all of which was read"]
    if abs(held - announced) <= LOSSY_SECONDS * header.sample_rate:
        return []
    told = (
        f"its header announces {announced / header.sample_rate:.2f} s, it holds "
        f"{held / header.sample_rate:.2f} s"
    )
    return [f"it may be cut: {told}" if held < announced else f"{told}, all of which was read"]
