"""Find the inputs of a batch: files, folders, patterns, URLs, lists, playlists; take a shard."""

from __future__ import annotations

import heapq
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from htmdsep.batch import storage
from htmdsep.batch.own_stems import OwnStems
from htmdsep.batch.plan import Source, Track
from htmdsep.batch.playlists import UTF_16, is_playlist, listed_in, plain_lines
from htmdsep.errors import PlanError, explained
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.options import STANDARD_STREAM

ROW_BEGINS = b'{"id": "'  # of a manifest
# Bytes a second, as files usually are: 44.1 kHz stereo, 16 bits; about 60 % of that; 256 kbit/s.
BYTES_A_SECOND = {
    **dict.fromkeys((".wav", ".wave", ".aif", ".aiff", ".caf", ".w64", ".rf64", ".au"), 176_400),
    **dict.fromkeys((".flac", ".ape", ".wv", ".tta", ".tak"), 106_000),
}
OTHER_BYTES_A_SECOND = 32_000


def find_sources(
    inputs: Iterable[str],
    out: str,
    *,
    recursive: bool,
    base: str | None = None,
    listed: Iterable[Source] = (),
) -> Iterator[Source]:
    """Yield every file to separate, each once: the inputs, and the audio files in folders.

    The output folder is not searched where it lies below an input folder or a pattern's: it holds
    stems. Nor are stems of earlier runs taken that lie among the songs, as manifests tell; one that
    is named is, but not below its own output folder. Files below `base` are mirrored from there on,
    whatever they were found by. What is `listed` is input, too; there a name with an audio ending
    is a file, and the disk is not asked.
    """
    seen: set[object] = set()
    root = None if base is None else storage.absolute(storage.tidied(base)).rstrip("/") + "/"
    search = _Search(storage.resolved(out), recursive, OwnStems())
    for found in _with_playlists(chain(_expand(inputs, search), _listed(listed, search)), search):
        name = storage.absolute(found.name) if found.name else ""
        key = name if found.track is None else (name, found.track)
        if key in seen:
            continue
        seen.add(found.name if key == found.name else key)  # one string, not two equal ones
        if root is not None and name.startswith(root):
            # A folder has one string for all of its songs, too.
            found = found._replace(below=sys.intern(name[len(root) :].rpartition("/")[0]))
        yield found
    if search.passed_over and not seen:
        yield Source(
            search.passed_over[0],
            problem="a stem of an earlier run, and there is nothing else; to separate it, name it, "
            "with another --out",
        )


@dataclass(frozen=True)
class _Search:
    """How inputs are looked through."""

    out: str  # resolved
    recursive: bool
    stems: OwnStems
    passed_over: list[str] = field(default_factory=list)  # the first of them, if any

    def takes(self, name: str, *, is_named: bool = False) -> bool:
        """Tell whether a file is to be separated: it is no stem, or is meant to be all the same."""
        if name not in self.stems:
            return True
        if is_named and not storage.is_below(storage.resolved(name), self.out):
            return True
        if not self.passed_over:
            self.passed_over.append(name)
        return False


def _with_playlists(found: Iterable[Source], search: _Search) -> Iterator[Source]:
    """Yield what was found, and in place of playlists what they list."""
    for source in found:
        if source.problem or not is_playlist(source.name) or not Path(source.name).is_file():
            yield source
            continue
        for one in listed_in(source):
            if one.problem is not None or search.takes(one.name, is_named=True):
                yield one


def read_list(name: str) -> Iterator[Source]:
    """Yield the inputs that a file lists, - for standard input: a line each, or a manifest.

    Of a manifest every input is taken, in whatever way it ended, but not what a crash left of a
    row. Lists are UTF-8, or UTF-16 with a byte order mark; where they hold zero bytes, as those of
    find -print0, these end the names. Raises PlanError where the file cannot be read.
    """
    is_stream = name == STANDARD_STREAM
    if is_stream and sys.stdin is None:
        raise PlanError("--from -: there is no standard input here; name a file")
    errors = (OSError, ValueError, TypeError)
    with explained(f"--from {name}", "check the file", of=errors, kind=PlanError):
        data = sys.stdin.buffer.read() if is_stream else Path(storage.tidied(name)).read_bytes()
        for number, line in enumerate(_entries(data), 1):
            if b"\0" in line or line == b"\n":
                raise PlanError(
                    f"--from {name}, line {number}: holds a zero byte; save the list in UTF-8"
                )
            entry = _entry(line, f"{name}, line {number}")
            if entry.name.strip():
                yield entry


def _entries(data: bytes) -> Iterable[bytes]:
    """Return a list's lines, or what zero bytes end in it; of UTF-16 they are half of all."""
    if b"\0" not in data or data.startswith((*UTF_16, ROW_BEGINS)):
        return plain_lines(data)
    return data.split(b"\0")


def _entry(line: bytes, where: str) -> Source:
    """Return what a line names; nothing for what a crash left of a manifest's row."""
    entry = os.fsdecode(line)
    if not entry.startswith("{"):
        return Source(entry)
    try:
        row = json.loads(entry)
    except ValueError:
        return Source("" if line.startswith(ROW_BEGINS) else entry)  # a name may begin so, too
    if not isinstance(row, dict) or "input" not in row:
        raise PlanError(f"--from {where}: neither a path nor a row of a manifest")
    name, track = str(row["input"]), row.get("track")
    if track is None:
        return Source(name)
    title, start, duration, tags = track
    return Source(name, track=Track(title, start, duration, tuple((k, text) for k, text in tags)))


def _listed(entries: Iterable[Source], search: _Search) -> Iterator[Source]:
    for entry in entries:
        name = entry.name
        tidy = os.path.normpath(name) == name and name[0] != "~" and not storage.is_url(name)
        if tidy and _is_audio(name) and not storage.is_pattern(name):
            if search.takes(name, is_named=True):
                yield entry
        else:
            yield from (one._replace(track=entry.track) for one in _expand([name], search))


def _expand(inputs: Iterable[str], search: _Search) -> Iterator[Source]:
    for given in map(storage.tidied, inputs):
        matched = None if given == STANDARD_STREAM else storage.expand_pattern(given)
        if matched is None:
            yield from _one(given, search)
            continue
        folder = storage.fixed_part(given)
        # Of stems themselves
        asked_for = storage.is_below(storage.resolved(folder) + "/", search.out)
        for name in matched:
            is_stem = not asked_for and storage.is_below(storage.resolved(name), search.out)
            if not is_stem and not storage.is_folder(name) and search.takes(name):
                below = storage.parent(name)[len(folder) :].strip("/")
                yield Source(name, below)
        if not matched:
            yield Source(given, problem="no file matches this pattern; check it")


def _one(given: str, search: _Search) -> Iterator[Source]:
    if not given:
        yield Source(given, problem="an empty name; check what it was to be")
        return
    if not storage.is_url(given):
        tidied = str(Path(given))  # ./song.mp3 is song.mp3, but ./- is a file
        given = storage.absolute(tidied) if tidied == STANDARD_STREAM != given else tidied
    if given == STANDARD_STREAM or _is_file(given):
        if given == STANDARD_STREAM or search.takes(given, is_named=True):
            yield Source(given)
        return
    if search.recursive and storage.is_url(given) and storage.resolved(given) == search.out:
        raise PlanError(
            f"{given} is the output folder, too, so that stems would be taken for songs the next "
            "time; choose another --out"
        )
    walk = _objects if storage.is_url(given) else _audio_files
    found = sorted(walk(given, search), key=lambda one: (one.problem is not None, one.name))
    for source in found:
        if source.problem is not None or search.takes(source.name):
            yield source
    if not found:
        deeper = "" if search.recursive else "; --recursive looks into the folders below"
        yield Source(given, problem=f"no audio file in this folder{deeper}")


def _is_file(name: str) -> bool:
    """Tell whether a name is to be opened as it is, not looked into."""
    # For a URL with an audio ending that goes without saying: asking takes a request each.
    if storage.is_url(name) and _is_audio(name):
        return True
    return not storage.is_folder(name)


def _is_audio(name: str) -> bool:
    last = name.rpartition("/")[2]
    return "." + last.rpartition(".")[2].lower() in AUDIO_ENDINGS and last[0] != "."


def _objects(url: str, search: _Search) -> Iterator[Source]:
    for name, below in storage.listing(url, recursive=search.recursive):
        if _is_audio(name) and not storage.is_below(name, search.out):
            yield Source(name, below)


def _audio_files(folder: str, search: _Search) -> Iterator[Source]:
    """Yield the audio files of a folder, and the folders in it that cannot be read."""
    pending = [(folder, "")]
    while pending:
        parent, below = pending.pop()
        try:
            with os.scandir(parent) as entries:
                found = list(entries)
        except OSError as error:
            yield Source(parent, problem=f"cannot be read ({error.strerror})")
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                is_hidden = entry.name.startswith(".")
                if (
                    search.recursive
                    and not is_hidden
                    and storage.resolved(entry.path) != search.out
                ):
                    pending.append((entry.path, f"{below}/{entry.name}".strip("/")))
            elif _is_audio(entry.name) and _is_readable(entry):
                yield Source(entry.path.removeprefix(f".{os.sep}"), below)


def _is_readable(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a file or leads to one, not to a pipe that may never be written."""
    if entry.is_symlink():
        return not (Path(entry).is_fifo() or Path(entry).is_dir())
    return entry.is_file()


@dataclass(frozen=True)
class Shard:
    """One of `count` shards; numbers begin at 1."""

    number: int
    count: int


def parse_shard(text: str) -> Shard:
    """Return the shard that "I/N" names; raise PlanError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise PlanError(f"--shard {text}: write I/N with I from 1 to N, such as 3/8")
    return Shard(int(found[1]), int(found[2]))


def take_shard(sources: Sequence[Source], shard: Shard) -> list[Source]:
    """Return the shard's sources, in their order.

    The longest song goes to the shard with the least so far, then the next: all shards of one
    list are disjoint, cover it, and differ by no more than the longest song.
    """
    weights = [_seconds(source.name) for source in sources]
    order = sorted(range(len(sources)), key=lambda i: (-weights[i], sources[i].name))
    loads = [(0.0, number) for number in range(1, shard.count + 1)]
    mine = bytearray(len(sources))
    for place in order:
        load, number = loads[0]
        # A song without a known duration counts a little, so that those are spread, too.
        heapq.heapreplace(loads, (load + max(weights[place], 0.001), number))
        mine[place] = number == shard.number
    return [source for source, taken in zip(sources, mine, strict=True) if taken]


def _seconds(name: str) -> float:
    """Return about how long a file plays, by its size and ending."""
    ending = "." + name.rpartition(".")[2].lower()
    size = storage.size_of(storage.known_stamp(name))
    return size / BYTES_A_SECOND.get(ending, OTHER_BYTES_A_SECOND)
