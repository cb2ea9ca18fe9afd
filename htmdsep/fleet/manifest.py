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
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from htmdsep.fleet.locks import BINARY
from htmdsep.options import StemName

Status = Literal["started", "done", "failed", "interrupted"]
NAME = "manifest.jsonl"
PATTERN = "manifest*.jsonl"
ID_LENGTH = 16  # hexadecimal digits
# Every row begins alike, so that an index needs no JSON parser:
# {"id": "...", "time": "...", and of songs that are done "proof": "...",
BEGINNING = b'{"id": "'
_ID = slice(8, 8 + ID_LENGTH)
_TIME = slice(_ID.stop + 12, _ID.stop + 12 + 24)
_PROOF_KEY = b'", "proof": "'
_PROOF = slice(_TIME.stop + len(_PROOF_KEY), _TIME.stop + len(_PROOF_KEY) + ID_LENGTH)
_ROW_BYTES = 4096  # what is read at once; longer rows are read on
# An entry of the index is one number: the proof (0: none) in the lowest 64 bits, above it the
# position in a file (16 TiB at most), above that the file's number.
_PROOF_BITS = 64
_POSITION_BITS = 44
_NO_POSITION = (1 << _PROOF_BITS) - 1


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
        known = self._proof()
        if known is not None:
            given = {"id": self.id, "time": self.time, "proof": f"{known:0{ID_LENGTH}x}", **given}
        return json.dumps(given).encode("ascii") + b"\n"

    def _proof(self) -> int | None:
        """Return what shows that the song stands, None for one that is not done."""
        outputs = sorted(self.outputs.values(), key=lambda output: output.path)
        stamps = [self.input_stamp, *(output.stamp for output in outputs)]
        known = [stamp for stamp in stamps if stamp is not None]
        if self.status != "done" or len(known) < len(stamps):
            return None
        return proof(self.options_sha256, self.weights_sha256, known)


_KEYS = frozenset(one.name for one in fields(Row))


def parse_row(line: bytes) -> Row | None:
    """Return the row of a line, None for one that is none."""
    try:
        found = json.loads(line)
        found["outputs"] = {stem: Output(**one) for stem, one in found["outputs"].items()}
        # The proof follows from the rest, and what a later version adds is passed over.
        known = {key: value for key, value in found.items() if key in _KEYS}
        return Row(**{"below": "", **known})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def row_id(names: Iterable[str]) -> str:
    """Return what a song is known by: its output names, as each is written by one song only."""
    joined = "\n".join(sorted(names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(joined, digest_size=ID_LENGTH // 2).hexdigest()


def proof(options_sha256: str, weights_sha256: str, stamps: Iterable[str]) -> int:
    """Return a number of 64 bits that shows that nothing has changed since a song was done.

    The stamps are those of the input, then of the outputs in the order of their names.
    """
    joined = "\n".join((options_sha256, weights_sha256, *stamps)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=ID_LENGTH // 2).digest(), "big")


def now() -> str:
    """Return the time as rows have it, in 24 letters."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Index:
    """The proof of every song, and where its last row is; rows are read when needed."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files: list[Path] = []
        self._descriptors: list[int] = []
        self._entries: dict[int, int] = {}
        for path in sorted(files):
            self._add(path)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Row]:
        """Yield the last row of every song, in the order of the songs' first rows."""
        for line in self.lines():
            row = parse_row(line)
            if row is not None:
                yield row

    def proof(self, identity: int) -> int | None:
        """Return the `proof` that a song's last row holds, None where there is none."""
        return self._entries.get(identity, 0) & _NO_POSITION or None

    def last(self, identity: str) -> Row | None:
        """Return a song's last row, None where there is none that can be read."""
        entry = self._entries.get(int(identity, 16))
        row = None if entry is None else parse_row(self._line(entry))
        return row if row is not None and row.id == identity else None

    def lines(self) -> Iterator[bytes]:
        """Yield the last line of every song."""
        return map(self._line, self._entries.values())

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def _add(self, path: Path) -> None:
        number = len(self._files)
        self._files.append(path)
        self._descriptors.append(os.open(path, os.O_RDONLY | BINARY))
        position = number << _POSITION_BITS
        with path.open("rb") as file:
            for line in file:
                if line.startswith(BEGINNING) and line.endswith((b"}\n", b"}\r\n")):
                    self._note(line, position, number)
                position += len(line)

    def _note(self, line: bytes, position: int, number: int) -> None:
        try:
            key = int(line[_ID], 16)
            known = int(line[_PROOF], 16) if line.startswith(_PROOF_KEY, _TIME.stop) else 0
        except ValueError:
            return
        # Within a file the later row counts; between two files the clock decides.
        if number and self._is_later(key, line, number):
            return
        self._entries[key] = position << _PROOF_BITS | known

    def _is_later(self, key: int, line: bytes, number: int) -> bool:
        """Tell whether a file before this one has a later row of the same song."""
        entry = self._entries.get(key)
        if entry is None or entry >> (_PROOF_BITS + _POSITION_BITS) == number:
            return False
        return self._line(entry)[_TIME] > line[_TIME]

    def _line(self, entry: int) -> bytes:
        number, offset = divmod(entry >> _PROOF_BITS, 1 << _POSITION_BITS)
        descriptor = self._descriptors[number]
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
