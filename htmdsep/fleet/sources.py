"""Find the inputs of a batch: files, folders, patterns, URLs, and lists of these."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from htmdsep.batch import STANDARD_STREAM, PlanError, Source
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.fleet import places
from htmdsep.fleet.manifest import BEGINNING

NO_AUDIO = "no audio file in this folder"


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
    root = None if base is None else places.absolute(base).rstrip("/") + "/"
    absolute_out = places.absolute(out)
    for found in chain(
        _expand(inputs, absolute_out, recursive=recursive),
        _listed(listed, absolute_out, recursive=recursive),
    ):
        name = places.absolute(found.name)
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
    row. Raises PlanError where the file cannot be read.
    """
    try:
        with ExitStack() as stack:
            raw = (
                sys.stdin.buffer
                if name == STANDARD_STREAM
                else stack.enter_context(Path(name).open("rb"))
            )
            for number, line in enumerate(raw, 1):
                if b"\0" in line:
                    raise PlanError(
                        f"--from {name}, line {number}: holds a zero byte; give one path a line "
                        "(find -print, not -print0)"
                    )
                if line.startswith(BEGINNING) and not line.endswith(b"\n"):
                    continue  # what a crash left of a row
                entry = os.fsdecode(line.rstrip(b"\r\n"))
                if entry.strip():
                    yield _entry(entry, f"{name}, line {number}") if entry[0] == "{" else entry
    except OSError as error:
        raise PlanError(f"--from {name}: {error.strerror}; check the path") from error


def _entry(line: str, where: str) -> str:
    """Return the input of a manifest's row."""
    try:
        return str(json.loads(line)["input"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"--from {where}: neither a path nor a row of a manifest") from error


def _listed(names: Iterable[str], out: str, *, recursive: bool) -> Iterator[Source]:
    for name in names:
        if places.is_tidy(name) and _is_audio(name) and not places.is_pattern(name):
            yield Source(name)
        else:
            yield from _expand([name], out, recursive=recursive)


def _expand(inputs: Iterable[str], out: str, *, recursive: bool) -> Iterator[Source]:
    for given in inputs:
        matched = None if given == STANDARD_STREAM else places.matches(given)
        if matched is None:
            yield from _one(given, out, recursive=recursive)
            continue
        folder = places.fixed_part(given)
        holds_out = places.is_below(out, places.absolute(folder))
        for name in matched:
            is_stem = holds_out and places.is_below(places.absolute(name), out)
            if not is_stem and not places.is_folder(name):
                below = places.parent(name)[len(folder) :].strip("/")
                yield Source(name, below)
        if not matched:
            yield Source(given, problem="no file matches this pattern; check it")


def _one(given: str, out: str, *, recursive: bool) -> Iterator[Source]:
    if not (places.is_tidy(given) or places.is_url(given)):
        tidied = str(Path(given))  # ./song.mp3 is song.mp3, but ./- is a file
        given = places.absolute(tidied) if tidied == STANDARD_STREAM != given else tidied
    if given == STANDARD_STREAM or _is_file(given):
        yield Source(given)
        return
    if recursive and places.absolute(given).rstrip("/") == out.rstrip("/"):
        raise PlanError(
            f"{given} is the output folder, too, so that stems would be taken for songs the next "
            "time; choose another --out"
        )
    unread: list[OSError] = []
    found = sorted(
        _objects(given, out, recursive=recursive)
        if places.is_url(given)
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
    if places.is_url(name) and _is_audio(name):
        return True
    return not places.is_folder(name)


def _is_audio(name: str) -> bool:
    last = name.rpartition("/")[2]
    return "." + last.rpartition(".")[2].lower() in AUDIO_ENDINGS and last[0] != "."


def _objects(url: str, out: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    for name, below in places.listing(url, recursive=recursive):
        if _is_audio(name) and not places.is_below(name, out):
            yield name, below


def _audio_files(
    folder: str, out: str, unread: list[OSError], *, recursive: bool
) -> Iterator[tuple[str, str]]:
    """Yield the audio files of a folder; folders that cannot be read are added to `unread`."""
    kept_out = None if places.is_url(out) else Path(out).resolve()
    root = "" if folder == os.curdir else folder.rstrip(os.sep)
    for parent, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [
            name
            for name in folders
            if recursive and not name.startswith(".") and Path(parent, name).resolve() != kept_out
        ]
        parent = parent.removeprefix(os.curdir + os.sep) if folder == os.curdir else parent
        below = "" if parent == folder else parent[len(root) :].strip(os.sep)
        for name in names:
            if _is_audio(name):
                yield name if parent == os.curdir else os.path.join(parent, name), below  # noqa: PTH118
