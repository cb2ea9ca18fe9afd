"""The manifest of an output folder: JSON lines, a row whenever a song begins or ends.

Rows are only ever added, each in one write to a file opened for appending, and the last row of a
song counts. What a crash left of a row is no JSON and is passed over. Shards write files of their
own; whoever reads a folder reads all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from htmdsep.options import StemName

Status = Literal["started", "done", "failed", "interrupted"]
NAME = "manifest.jsonl"
PATTERN = "manifest*.jsonl"
ID_LENGTH = 16  # hexadecimal digits
# Every row begins alike, so that an index needs no JSON parser: {"id": "...", "time": "...",
_ID = slice(8, 8 + ID_LENGTH)
_TIME = slice(8 + ID_LENGTH + 12, 8 + ID_LENGTH + 12 + 24)
_ROW_BYTES = 4096  # what is read at once; longer rows are read on
_POSITION_BITS = 44  # of an entry of the index: 16 TiB a file; the file's number is above them


@dataclass(frozen=True)
class Output:
    """An output file: its name below the output folder, and once it is whole, what it holds."""

    path: str
    sha256: str | None = None
    stamp: str | None = None  # size and time of change, see places.stamp


@dataclass(frozen=True)
class Row:
    """What is known of a song at a time."""

    id: str  # of its output names; see `row_id`
    time: str  # UTC
    status: Status
    input: str  # absolute path or URL
    below: str
    outputs: Mapping[StemName, Output]
    options_sha256: str
    weights_sha256: str
    attempt: int  # counts those in a row that brought no result, this one included
    input_sha256: str | None = None
    input_stamp: str | None = None
    error: str | None = None
    seconds: float | None = None  # of work
    audio_seconds: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)  # levels and the like, see work.Done
    host: str | None = None

    def line(self) -> bytes:
        """Return the row as it is written."""
        given = {key: value for key, value in asdict(self).items() if value not in (None, {}, "")}
        return json.dumps(given).encode("ascii") + b"\n"


def parse_row(line: bytes) -> Row | None:
    """Return the row of a line, None for one that is none."""
    try:
        found = json.loads(line)
        found["outputs"] = {stem: Output(**one) for stem, one in found["outputs"].items()}
        return Row(**{"below": "", **found})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def row_id(names: Iterable[str]) -> str:
    """Return what a song is known by: its output names, as each is written by one song only."""
    joined = "\n".join(sorted(names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(joined, digest_size=ID_LENGTH // 2).hexdigest()


def now() -> str:
    """Return the time as rows have it, in 24 letters."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Index:
    """Where the last row of every song is, in some 170 bytes a song; rows are read when needed."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files: list[Path] = []
        self._descriptors: list[int] = []
        self._positions: dict[int, int] = {}
        for path in sorted(files):
            self._add(path)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Row]:
        """Yield the last row of every song, in the order of the songs' first rows."""
        for position in self._positions.values():
            row = parse_row(self._line(position))
            if row is not None:
                yield row

    def last(self, identity: str) -> Row | None:
        """Return a song's last row, None where there is none that can be read."""
        position = self._positions.get(int(identity, 16))
        row = None if position is None else parse_row(self._line(position))
        return row if row is not None and row.id == identity else None

    def lines(self) -> Iterator[bytes]:
        """Yield the last line of every song."""
        return map(self._line, self._positions.values())

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _add(self, path: Path) -> None:
        first = len(self._files) << _POSITION_BITS
        self._files.append(path)
        self._descriptors.append(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        position = first
        with path.open("rb") as file:
            for line in file:
                if line.startswith(b'{"id": "') and line.endswith(b"}\n"):
                    self._note(line, position, first)
                position += len(line)

    def _note(self, line: bytes, position: int, first: int) -> None:
        try:
            key = int(line[_ID], 16)
        except ValueError:
            return
        earlier = self._positions.get(key)
        # Within a file the later row counts; between two files the clock decides.
        if earlier is not None and earlier < first and self._line(earlier)[_TIME] > line[_TIME]:
            return
        self._positions[key] = position

    def _line(self, position: int) -> bytes:
        descriptor = self._descriptors[position >> _POSITION_BITS]
        offset = position & ((1 << _POSITION_BITS) - 1)
        found = b""
        while b"\n" not in found:
            part = _read_at(descriptor, _ROW_BYTES, offset + len(found))
            if not part:
                return found
            found += part
        return found[: found.index(b"\n") + 1]


def _read_at(descriptor: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)
