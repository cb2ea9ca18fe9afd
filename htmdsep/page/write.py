"""Write the page: index.html, and beside it a folder with the list, and two files a song."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from htmdsep.batch import storage
from htmdsep.batch.song import FAILURES, error_line
from htmdsep.errors import HtmdsepError
from htmdsep.files import readable, write_text
from htmdsep.page.songs import ListedSong, find_songs

PAGE, FOLDER = "index.html", "index_files"
MARK = '<meta name="generator" content="htmdsep">'
BEGIN, END = "show(", ");\n"  # of a song's file, which is a script: pages may load nothing else
VERSION = 1  # of a song's files; others are made anew


def check_page(out: Path) -> None:
    """Raise HtmdsepError where a folder is none, or holds an index.html of another program."""
    if not out.is_dir():
        raise HtmdsepError(f"there is no folder {out}; name one with stems in it")
    page = out / PAGE
    if page.is_file() and MARK not in page.read_text("utf-8", errors="replace"):
        raise HtmdsepError(f"{page} was not made by htmdsep; move it away first")


def write_page(out: Path) -> Iterator[tuple[ListedSong, str | None]]:
    """Write the page of an output folder; yield each song, and what keeps it from being heard.

    Its files are there then; the page itself appears when all have been taken. What a song's stems
    have brought before is kept while they are the same. Raises HtmdsepError as `check_page`, and
    where nothing is found.
    """
    check_page(out)
    songs = find_songs(out)
    if not songs:
        raise HtmdsepError(f"there are no stems in {out}; name the folder they were written to")
    listed = []
    for song in songs:
        found, error = _try_song(out, song)
        listed.append(_row(song, found, error))
        yield song, error
    template = Path(__file__).parent
    for name in ("page.css", "page.js"):
        write_text(out / FOLDER / name, (template / name).read_text("utf-8"))
    write_text(out / FOLDER / "songs.js", f"const SONGS = {json.dumps(listed)};\n")
    write_text(out / PAGE, (template / "page.html").read_text("utf-8"))


def _try_song(out: Path, song: ListedSong) -> tuple[dict[str, Any] | None, str | None]:
    """Return what is known of a song's stems, or what is wrong with it."""
    if song.status != "done":
        return None, song.error
    try:
        return _song_file(out, song), None
    except FAILURES as error:
        return None, error_line(error)


def _song_file(out: Path, song: ListedSong) -> dict[str, Any]:
    """Return what a song's file holds, made anew where the stems have changed."""
    if len({*song.stems.values()}) < len(song.stems):
        raise HtmdsepError(
            "its stems are in one file, of which browsers play the mixture alone; give another "
            "--format for a page"
        )
    paths: dict[str, Path] = {stem: out / name for stem, name in song.stems.items()}
    target, picture = (out / FOLDER / f"{song.id}.{ending}" for ending in ("js", "png"))
    original = _address_from(out, song.original)
    read = [*paths.values(), *filter(None, [song.original])]
    stamps = [VERSION, original, *(storage.known_stamp(str(path)) for path in read)]
    if picture.is_file() and (known := _read(target)) and known.get("stamps") == stamps:
        return known
    from htmdsep.page.measure import measure_stems  # and librosa with it

    found = measure_stems(paths, song.original if original else None, picture)
    files: dict[str, str] = {stem: _address(name) for stem, name in song.stems.items()}
    if original is not None and found["gain_db"] is not None:
        files["mixture"] = original
    found = {"id": song.id, "stamps": stamps, "files": files, **found}
    write_text(target, BEGIN + json.dumps(found) + END)
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a song's file of an earlier page holds."""
    try:
        text = path.read_text("utf-8")
        found: dict[str, Any] = json.loads(text.removeprefix(BEGIN).removesuffix(END))
    except (OSError, ValueError):
        return None
    return found


def _row(song: ListedSong, found: dict[str, Any] | None, error: str | None) -> dict[str, Any]:
    """Return a song as the list has it."""
    row = {
        "id": song.id,
        "name": readable(song.name),
        "folder": readable(song.folder),
        "status": song.status if error is None or song.status != "done" else "failed",
        "error": None if error is None else readable(error),
        "notes": [readable(note) for note in song.notes],
    }
    if found is not None:
        row |= {key: found[key] for key in ("seconds", "share", "levels")}
    return row


def _address(path: str) -> str:
    return quote(os.fsencode(Path(path).as_posix()))


def _address_from(out: Path, path: Path | None) -> str | None:
    """Return how a page in a folder names a file that lies elsewhere, if it can."""
    try:
        return None if path is None else _address(os.path.relpath(path, out))
    except ValueError:  # another drive of Windows
        return None
