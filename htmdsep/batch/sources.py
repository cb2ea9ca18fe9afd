"""Find the inputs of a batch: files, folders, patterns, URLs, lists; take a shard's part."""

from __future__ import annotations

import codecs
import heapq
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from htmdsep.batch import storage
from htmdsep.batch.plan import Source
from htmdsep.errors import PlanError
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.options import STANDARD_STREAM

NO_AUDIO = "no audio file in this folder"
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
    listed: Iterable[str] = (),
) -> Iterator[Source]:
    """Yield every file to separate, each once: the inputs, and the audio files in folders.

    The output folder is not searched where it lies below an input folder or a pattern's: it holds
    stems. Files below `base` are mirrored from there on, whatever they were found by. What is
    `listed` is input, too; there a name with an audio ending is a file, and the disk is not asked.
    """
    seen: set[str] = set()
    root = None if base is None else storage.absolute(base).rstrip("/") + "/"
    kept_out = storage.resolved(out)
    for found in chain(
        _expand(inputs, kept_out, recursive=recursive),
        _listed(listed, kept_out, recursive=recursive),
    ):
        name = storage.absolute(found.name) if found.name else ""
        if name in seen:
            continue
        seen.add(found.name if name == found.name else name)  # one string, not two equal ones
        if root is not None and name.startswith(root):
            # A folder has one string for all of its songs, too.
            below = sys.intern(name[len(root) :].rpartition("/")[0])
            found = Source(found.name, below, found.problem)
        yield found


def read_list(name: str) -> Iterator[str]:
    """Yield the inputs that a file lists, - for standard input: a line each, or a manifest.

    Of a manifest every input is taken, in whatever way it ended, but not what a crash left of a
    row. Lists are UTF-8, or UTF-16 with a byte order mark. Raises PlanError where the file cannot
    be read.
    """
    try:
        with ExitStack() as stack:
            if name != STANDARD_STREAM:
                file: IO[bytes] = stack.enter_context(Path(name).open("rb"))
            elif sys.stdin is None:
                raise PlanError("--from -: there is no standard input here; name a file")
            else:
                file = sys.stdin.buffer
            for number, line in enumerate(_lines(file), 1):
                if b"\0" in line:
                    raise PlanError(
                        f"--from {name}, line {number}: holds a zero byte; give one path a line "
                        "(find -print, not -print0), in UTF-8"
                    )
                entry = _entry(line, f"{name}, line {number}")
                if entry.strip():
                    yield entry
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PlanError(f"--from {name}: {reason}; check the file") from error


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a list's lines in UTF-8, as Windows saves it, too."""
    first = file.readline()
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = (first + file.read()).decode("utf-16")
        yield from (line.encode("utf-8", "surrogatepass") for line in text.split("\n"))
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from file


def _entry(line: bytes, where: str) -> str:
    """Return what a line names; nothing for what a crash left of a manifest's row."""
    entry = os.fsdecode(line.rstrip(b"\r\n"))
    if not entry.startswith("{"):
        return entry
    try:
        row = json.loads(entry)
    except ValueError:
        return "" if entry.startswith('{"id": "') else entry  # a name may begin so, too
    if not isinstance(row, dict) or "input" not in row:
        raise PlanError(f"--from {where}: neither a path nor a row of a manifest")
    return str(row["input"])


def _listed(names: Iterable[str], out: str, *, recursive: bool) -> Iterator[Source]:
    for name in names:
        tidy = not storage.is_url(name) and os.path.normpath(name) == name
        if tidy and _is_audio(name) and not storage.is_pattern(name):
            yield Source(name)
        else:
            yield from _expand([name], out, recursive=recursive)


def _expand(inputs: Iterable[str], out: str, *, recursive: bool) -> Iterator[Source]:
    for given in map(storage.without_scheme, inputs):
        matched = None if given == STANDARD_STREAM else storage.expand_pattern(given)
        if matched is None:
            yield from _one(given, out, recursive=recursive)
            continue
        folder = storage.fixed_part(given)
        asked_for = storage.is_below(storage.resolved(folder) + "/", out)  # the stems themselves
        for name in matched:
            is_stem = not asked_for and storage.is_below(storage.resolved(name), out)
            if not is_stem and not storage.is_folder(name):
                below = storage.parent(name)[len(folder) :].strip("/")
                yield Source(name, below)
        if not matched:
            yield Source(given, problem="no file matches this pattern; check it")


def _one(given: str, out: str, *, recursive: bool) -> Iterator[Source]:
    if not given:
        yield Source(given, problem="an empty name; check what it was to be")
        return
    if not storage.is_url(given):
        tidied = str(Path(given))  # ./song.mp3 is song.mp3, but ./- is a file
        given = storage.absolute(tidied) if tidied == STANDARD_STREAM != given else tidied
    if given == STANDARD_STREAM or _is_file(given):
        yield Source(given)
        return
    if recursive and storage.resolved(given) == out:
        raise PlanError(
            f"{given} is the output folder, too, so that stems would be taken for songs the next "
            "time; choose another --out"
        )
    unread: list[OSError] = []
    found = sorted(
        _objects(given, out, recursive=recursive)
        if storage.is_url(given)
        else _audio_files(given, out, unread, recursive=recursive)
    )
    for name, below in found:
        yield Source(name, below)
    for error in unread:
        yield Source(str(error.filename), problem=f"cannot be read ({error.strerror})")
    if not found and not unread:
        deeper = "" if recursive else "; --recursive looks into the folders below"
        yield Source(given, problem=f"{NO_AUDIO}{deeper}")


def _is_file(name: str) -> bool:
    """Tell whether a name is to be opened as it is, not looked into."""
    # For a URL with an audio ending that goes without saying: asking takes a request each.
    if storage.is_url(name) and _is_audio(name):
        return True
    return not storage.is_folder(name)


def _is_audio(name: str) -> bool:
    last = name.rpartition("/")[2]
    return "." + last.rpartition(".")[2].lower() in AUDIO_ENDINGS and last[0] != "."


def _objects(url: str, out: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    for name, below in storage.listing(url, recursive=recursive):
        if _is_audio(name) and not storage.is_below(name, out):
            yield name, below


def _audio_files(
    folder: str, out: str, unread: list[OSError], *, recursive: bool
) -> Iterator[tuple[str, str]]:
    """Yield the audio files of a folder; folders that cannot be read are added to `unread`."""
    pending = [(folder, "")]
    while pending:
        parent, below = pending.pop()
        try:
            with os.scandir(parent) as entries:
                found = list(entries)
        except OSError as error:
            unread.append(error)
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if (
                    recursive
                    and not entry.name.startswith(".")
                    and storage.resolved(entry.path) != out
                ):
                    pending.append((entry.path, f"{below}/{entry.name}".strip("/")))
            elif _is_audio(entry.name) and _is_readable(entry):
                yield entry.path.removeprefix(f".{os.sep}" if folder == os.curdir else ""), below


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
