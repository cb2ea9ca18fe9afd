"""The songs of an output folder: those of its manifests, and the pairs of stems beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from htmdsep.batch.manifest import ManifestRow, row_id
from htmdsep.batch.manifest_file import has_manifest, read_index
from htmdsep.batch.storage import is_url
from htmdsep.options import FORMATS, STANDARD_STREAM, StemName


@dataclass(frozen=True)
class ListedSong:
    """A song as the page lists it."""

    id: str  # of its stems' names
    name: str
    folder: str  # below which it was found; "" where there is none
    stems: Mapping[StemName, str]  # names below the output folder
    original: Path | None = None  # what was separated, whether it is still there or not
    status: Literal["done", "failed", "unfinished"] = "done"
    error: str | None = None
    notes: tuple[str, ...] = ()


def find_songs(out: Path) -> list[ListedSong]:
    """Return the songs of a folder in the order of their names; raise HtmdsepError as manifests do.

    Pairs of stems are found by their names, vocals and accompaniment, and listed where no manifest
    names them.
    """
    songs = []
    if has_manifest(str(out)):
        with read_index(str(out)) as index:
            songs = [_recorded(row) for row in index]
    known = {name for song in songs for name in song.stems.values()}
    songs += (pair for pair in _pairs(out) if known.isdisjoint(pair.stems.values()))
    return sorted(songs, key=lambda song: (song.folder.casefold(), song.name.casefold()))


def _recorded(row: ManifestRow) -> ListedSong:
    is_file = row.input != STANDARD_STREAM and not is_url(row.input)
    name = row.input.replace(os.sep, "/").rpartition("/")[2]
    parts = next(iter(row.outputs.values())).path.rpartition(".")[0].split("/")[-2:]
    if not any(name.rpartition(".")[0] in part for part in parts):
        name = parts[0]  # a track of an album in one file
    return ListedSong(
        row.id,
        "standard input" if row.input == STANDARD_STREAM else name,
        row.below,
        {stem: output.path for stem, output in row.outputs.items()},
        Path(row.input) if is_file else None,
        "done" if row.status == "done" else "failed" if row.status == "failed" else "unfinished",
        row.error,
        tuple(row.result.get("notes", ())),
    )


def _pairs(out: Path) -> Iterator[ListedSong]:
    """Yield every file of vocals that has an accompaniment named alike."""
    for folder, folders, files in os.walk(out):
        folders.sort()
        below = Path(folder).relative_to(out)
        for file in sorted(files):
            vocals = (below / file).as_posix()
            accompaniment = _counterpart(out, vocals)
            if accompaniment is not None:
                stems: dict[StemName, str] = {"vocals": vocals, "accompaniment": accompaniment}
                place = vocals.rpartition(".")[0].replace("vocals", "").strip("/_- .()[]")
                where, _, name = (place or "stems").rpartition("/")
                yield ListedSong(row_id(stems.values()), name, where, stems)


def _counterpart(out: Path, vocals: str) -> str | None:
    """Return the accompaniment's name where a name is that of vocals, the last word first."""
    parts = vocals.split("vocals")
    if os.path.splitext(vocals)[1].lower() not in FORMATS:  # noqa: PTH122
        return None
    for number in range(len(parts) - 1, 0, -1):
        before, after = "vocals".join(parts[:number]), "vocals".join(parts[number:])
        if (out / (name := f"{before}accompaniment{after}")).is_file():
            return name
    return None
