"""Stretches of a file as a file of their own: a song of a chain, what lies behind a tag."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO


class Part(io.RawIOBase):
    """The bytes of some stretches of a file, in order, sought anywhere."""

    name: str  # if any: FFmpeg knows headerless kinds by their ending

    def __init__(self, file: BinaryIO | Part, stretches: Sequence[tuple[int, int]]) -> None:
        """`stretches` are where each begins and ends."""
        super().__init__()
        self._file = file
        self._stretches = stretches
        lengths = (end - start for start, end in stretches)
        self._edges = [0, *accumulate(lengths)]  # where each begins here; where the last ends
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        if self._position >= self._edges[-1]:  # damaged files send their readers anywhere
            return 0
        index = bisect_right(self._edges, self._position) - 1
        start, end = self._stretches[index]
        place = start + self._position - self._edges[index]
        self._file.seek(place)
        data = self._file.read(min(len(view), end - place)) or b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._edges[-1]}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def tell(self) -> int:
        return self._position


def whole(file: BinaryIO | Part) -> Part:
    """Return all of a file, with a place of its own in it."""
    return Part(file, [(0, file.seek(0, io.SEEK_END))])
