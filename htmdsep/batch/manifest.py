"""The manifest of an output folder: JSON lines, a row whenever a song begins or ends.

Rows are only ever added, each in one write to a file opened for appending, and the last row of a
song counts. What a crash left of a row is no JSON and is passed over. Shards write files of their
own; whoever reads a folder reads all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from htmdsep.options import StemName

# "started" and no more: the process was killed; "interrupted": given up for no fault of the song's
Status = Literal["started", "done", "failed", "interrupted"]
NAME = "manifest.jsonl"
PATTERN = "manifest*.jsonl"
ID_LENGTH = 16  # hexadecimal digits
LONGEST_ROW = 1 << 20  # bytes: far more than any has
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
    track: Sequence[Any] | None = None  # of a cue sheet; see plan.Track

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


def is_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest, as far as its first line tells, and no other JSON.

    Of that a crash may have left half; what cannot be read is found out when it is opened.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST_ROW)
        return HEAD.match(first) is not None or not isinstance(json.loads(first), dict)
    except (OSError, ValueError):
        return True


def row_id(names: Iterable[str]) -> str:
    """Return what a song is known by: its output names, as each is written by one song only."""
    joined = "\n".join(sorted(names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(joined, digest_size=ID_LENGTH // 2).hexdigest()


def now() -> str:
    """Return the time as rows have it, in 24 letters."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Index:
    """Where every song's last row begins; rows are read when they are needed.

    Within a file the later row counts, between two files the later time. No file stays open.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._places: dict[int, tuple[Path, int]] = {}  # by the song's id: a file, and where in it
        self._read: dict[Path, int] = {}  # bytes of every file
        for path in sorted(files):
            self.read_on(path)

    def __iter__(self) -> Iterator[ManifestRow]:
        """Yield the last row of every song."""
        return (row for line in self.lines() if (row := parse_row(line)) is not None)

    def last(self, identity: str) -> ManifestRow | None:
        """Return a song's last row, None where there is none that can be read."""
        place = self._places.get(int(identity, 16))
        row = None if place is None else parse_row(_line_at(place))
        return row if row is not None and row.id == identity else None

    def lines(self) -> Iterator[bytes]:
        """Yield the last line of every song, in the order of the files."""
        for path, length in self._read.items():
            for position, line, head in _heads(path, 0, length):
                if self._places.get(int(head[1], 16)) == (path, position):
                    yield line

    def read_on(self, path: Path) -> None:
        """Take in a file, or what has been added to it since."""
        begin, end = self._read.get(path, 0), path.stat().st_size
        for position, _, head in _heads(path, begin, end):
            key = int(head[1], 16)
            known = self._places.get(key)
            if known is None or known[0] == path or _time_at(known) <= head[2]:
                self._places[key] = path, position
        self._read[path] = end


def _line_at(place: tuple[Path, int]) -> bytes:
    path, position = place
    with path.open("rb") as file:
        file.seek(position)
        return file.readline()


def _time_at(place: tuple[Path, int]) -> bytes:
    """Return the time of a row; an early one where it is no longer there."""
    head = HEAD.match(_line_at(place))
    return b"" if head is None else head[2]


def _heads(path: Path, begin: int, end: int) -> Iterator[tuple[int, bytes, re.Match[bytes]]]:
    """Yield the whole rows of a part of a file: where each begins, its line, its head."""
    if begin >= end:
        return
    position = begin
    with path.open("rb") as file:
        file.seek(position)
        while position < end and (line := file.readline()):
            head = HEAD.match(line)
            if head and line.endswith((b"}\n", b"}\r\n")):
                yield position, line, head
            position += len(line)
