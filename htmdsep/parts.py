"""A stretch of a file as a file of its own: a song of a chain, what lies behind a tag."""

from __future__ import annotations

import io
from typing import BinaryIO, Union


class Part(io.RawIOBase):
    """A stretch of a file, as a file of its own and without a name."""

    def __init__(self, file: Source, start: int, end: int) -> None:
        super().__init__()
        self._file, self._start, self._end = file, start, end
        self._position = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        self._file.seek(self._position)
        data = self._file.read(min(len(view), max(0, self._end - self._position))) or b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}
        self._position = max(self._start, origin[whence] + offset)
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start


Source = Union[BinaryIO, Part]  # noqa: UP007 (at run time, too)
