"""The manifest of an output folder: JSON lines, a row whenever a song begins or ends.

Rows are only ever added, each in one write to a file opened for appending, and the last row of a
song counts. What a crash left of a row is no JSON and is passed over. Shards write files of their
own; whoever reads a folder reads all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from htmdsep.options import StemName

Status = Literal["started", "done", "failed", "interrupted"]
NAME = "manifest.jsonl"
PATTERN = "manifest*.jsonl"
ID_LENGTH = 16  # hexadecimal digits
# Every row begins alike, so that an index needs no JSON parser. Version 0.1.0 wrote a "proof"
# behind the time.
HEAD = re.compile(rb'\{"id": "([0-9a-f]{16})", "time": "([^"]*)"')


@dataclass(frozen=True)
class OutputRecord:
    """An output file: its name below the output folder, and once it is whole, what it holds."""

    path: str
    sha256: str | None = None
    stamp: str | None = None  # size and time of change, see storage.stamp


@dataclass(frozen=True)
class ManifestRow:
    """What is known of a song at a time."""

    id: str  # of its output names; see `row_id`
    time: str  # UTC
    status: Status
    input: str  # absolute path or URL
    below: str
    outputs: Mapping[StemName, OutputRecord]
    options_sha256: str
    weights_sha256: str
    attempt: int  # counts those in a row that brought no result, this one included
    input_sha256: str | None = None
    input_stamp: str | None = None
    error: str | None = None
    seconds: float | None = None  # of work
    audio_seconds: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)  # levels and the like
    host: str | None = None

    def line(self) -> bytes:
        """Return the row as it is written."""
        given = {key: value for key, value in asdict(self).items() if value not in (None, {}, "")}
        return json.dumps(given).encode("ascii") + b"\n"


_KEYS = frozenset(one.name for one in fields(ManifestRow))


def parse_row(line: bytes) -> ManifestRow | None:
    """Return the row of a line, None for one that is none."""
    try:
        found = json.loads(line)
        found["outputs"] = {stem: OutputRecord(**one) for stem, one in found["outputs"].items()}
        # What other versions have besides is passed over.
        known = {key: value for key, value in found.items() if key in _KEYS}
        return ManifestRow(**{"below": "", **known})
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
    """Where every song's last row begins, all files thought end to end; rows are read when needed.

    Within a file the later row counts, between two files the later time. No file stays open.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._entries: dict[int, int] = {}
        # Of every part that was read in one go: its file, where in it the part begins, and where
        # among all
        self._parts: list[tuple[Path, int]] = []
        self._starts: list[int] = []
        self._length = 0  # of all parts
        self._read: dict[Path, int] = {}  # bytes of every file
        for path in sorted(files):
            self.read_on(path)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ManifestRow]:
        """Yield the last row of every song."""
        for line in self.lines():
            row = parse_row(line)
            if row is not None:
                yield row

    def last(self, identity: str) -> ManifestRow | None:
        """Return a song's last row, None where there is none that can be read."""
        entry = self._entries.get(int(identity, 16))
        row = None if entry is None else parse_row(self._line(entry))
        return row if row is not None and row.id == identity else None

    def lines(self) -> Iterator[bytes]:
        """Yield the last line of every song, in the order of the files."""
        ends = [*self._starts, self._length][1:]
        for (path, offset), start, end in zip(self._parts, self._starts, ends, strict=True):
            for position, line, head in _heads(path, offset, end - start):
                if self._entries.get(int(head[1], 16)) == start + position:
                    yield line

    def read_on(self, path: Path) -> None:
        """Take in a file, or what has been added to it since."""
        offset = self._read.get(path, 0)
        length = path.stat().st_size - offset
        if length <= 0:
            return
        for position, _, head in _heads(path, offset, length):
            key = int(head[1], 16)
            known = self._entries.get(key)
            if known is None or self._is_older(known, path, head[2]):
                self._entries[key] = self._length + position
        self._parts.append((path, offset))
        self._starts.append(self._length)
        self._length += length
        self._read[path] = offset + length

    def _is_older(self, entry: int, path: Path, time: bytes) -> bool:
        """Tell whether a row that is known comes before one of this file and time."""
        if entry >= self._length or self._place(entry)[0] == path:
            return True
        head = HEAD.match(self._line(entry))
        return head is None or head[2] <= time

    def _place(self, entry: int) -> tuple[Path, int]:
        number = bisect_right(self._starts, entry) - 1
        path, offset = self._parts[number]
        return path, offset + entry - self._starts[number]

    def _line(self, entry: int) -> bytes:
        path, position = self._place(entry)
        with path.open("rb") as file:
            file.seek(position)
            return file.readline()


def _heads(path: Path, offset: int, length: int) -> Iterator[tuple[int, bytes, re.Match[bytes]]]:
    """Yield the whole rows of a part of a file: where each begins in it, the line, its head."""
    position = 0
    with path.open("rb") as file:
        file.seek(offset)
        while position < length and (line := file.readline()):
            head = HEAD.match(line)
            if head and line.endswith((b"}\n", b"}\r\n")):
                yield position, line, head
            position += len(line)
