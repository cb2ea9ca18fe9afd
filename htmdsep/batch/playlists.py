"""Playlists (M3U, PLS), whose entries are inputs, and cue sheets, which list tracks of a file."""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from htmdsep.audio.tags import clean_tags, legible
from htmdsep.batch import storage
from htmdsep.batch.plan import Source, Track
from htmdsep.files import UNSAFE_IN_NAMES
from htmdsep.options import STANDARD_STREAM

ENDINGS = (".m3u", ".m3u8", ".pls", ".cue")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PLS_ENTRY = re.compile(r"file\d+\s*=\s*(.*)", re.IGNORECASE)
CUE_TIME = re.compile(r"(\d{1,4}):(\d\d):(\d\d)")
CUE_FRAMES = 75  # a second
CUE_TAGS = {"PERFORMER": "artist", "DATE": "date", "GENRE": "genre"}


def plain_lines(data: bytes) -> Iterator[bytes]:
    """Yield a text's lines in UTF-8, without their ends or a byte order mark, of UTF-16, too."""
    if data.startswith(UTF_16):
        data = data.decode("utf-16").encode("utf-8", "surrogatepass")
    for line in io.BytesIO(data.removeprefix(codecs.BOM_UTF8)):
        yield line.rstrip(b"\r\n")


def is_playlist(name: str) -> bool:
    """Tell whether a name is a local playlist's, by its ending."""
    return name.lower().endswith(ENDINGS) and not storage.is_url(name)


def listed_in(playlist: Source) -> Iterator[Source]:
    """Yield what a playlist lists, by paths as they are seen from here.

    Nothing but files on this machine's disks is taken: all else has a problem, and so has a
    playlist that lists nothing or cannot be read.
    """
    kind = playlist.name.lower().rpartition(".")[2]
    try:
        lines = [os.fsdecode(line) for line in plain_lines(Path(playlist.name).read_bytes())]
    except (OSError, UnicodeError) as error:
        yield playlist._replace(problem=f"this playlist cannot be read ({error})")
        return
    if any(line.startswith("#EXT-X-") for line in lines):
        problem = "it lists the parts of a stream (HLS), not songs; join them to one file first"
        yield playlist._replace(problem=problem)
        return
    if kind == "cue":
        found = list(_tracks(playlist, lines))
    elif kind == "pls":
        matches = map(PLS_ENTRY.fullmatch, lines)
        found = [_listed(playlist, match[1]) for match in matches if match]
    else:
        entries = (line for line in lines if line.strip() and not line.startswith("#"))
        found = [_listed(playlist, entry) for entry in entries]
    yield from found or [playlist._replace(problem="this playlist lists no file; name another")]


def _listed(playlist: Source, entry: str) -> Source:
    """Return the file that an entry names, as one of the ways to write it finds a file."""
    local = storage.without_scheme(entry)
    refused = playlist._replace(name=f"{playlist.name}: {entry}")
    if storage.is_url(local.strip()):
        return refused._replace(problem="an address; of playlists only files on disks are read")
    folder = os.path.dirname(playlist.name)  # noqa: PTH120
    places = [storage.join(folder, one) for one in _spellings(local)]
    place = next(filter(os.path.lexists, places), places[1])
    if is_playlist(place):
        return refused._replace(problem="a playlist in a playlist; name it by itself")
    if "\0" in place or (os.path.lexists(place) and not Path(place).is_file()):
        return refused._replace(problem="no file; name what is to be separated by itself")
    return playlist._replace(
        name=storage.absolute(place) if place == STANDARD_STREAM else place  # a file called -
    )


def _spellings(entry: str) -> Iterator[str]:
    """Yield an entry as it is, as Latin-1, with Windows' slashes, and with escapes, as some do."""
    yield entry
    entry = legible(entry.strip())
    yield entry
    entry = entry.replace("\\", "/")
    yield entry
    yield unquote(entry)


def _tracks(sheet: Source, lines: Iterable[str]) -> Iterator[Source]:
    """Yield the audio tracks of a cue sheet, each to where the next one in its file begins."""
    indexed = list(_indexed(lines))
    for place, (file, start, tags) in enumerate(indexed):
        if not tags:
            continue  # data
        later = indexed[place + 1] if place + 1 < len(indexed) else None
        duration = later[1] - start if later and later[0] == file else None
        clean = clean_tags(tags)
        name = UNSAFE_IN_NAMES.sub("_", f"{tags['tracknumber']} {clean.get('title', '')}")
        track = Track(name.strip(" .") or f"{place + 1:02}", start, duration, tuple(clean.items()))
        source = _listed(sheet, file)._replace(track=track)
        if duration is not None and duration <= 0:
            source = source._replace(problem="the next track of its cue sheet begins no later")
        yield source


def _indexed(lines: Iterable[str]) -> Iterator[tuple[str, float, dict[str, str]]]:
    """Yield every track's file, where in it the track begins, in seconds, and its tags.

    Tags are complete once all tracks are there; those of tracks that hold data are empty.
    """
    file = ""
    tags = album = dict[str, str]()
    is_audio = False  # nothing is, before the first track
    for command, text, last in map(_words, lines):
        whole = f"{text} {last}".strip()
        if command == "FILE":
            file = text or last
        elif command == "TRACK":
            is_audio = not last.upper().startswith(("MODE", "CD"))
            tags = {**album, "tracknumber": text or last}
        elif command == "TITLE":
            tags["album" if tags is album else "title"] = whole
        elif command in CUE_TAGS:
            tags[CUE_TAGS[command]] = whole
        elif command == "INDEX" and text.lstrip("0") == "1" and tags is not album:
            time = CUE_TIME.fullmatch(last)
            if time is not None:
                minutes, seconds, frames = map(int, time.groups())
                yield file, 60 * minutes + seconds + frames / CUE_FRAMES, tags if is_audio else {}


def _words(line: str) -> tuple[str, str, str]:
    """Return a line's command, what stands behind it, in quotes or not, and the last word."""
    command, _, rest = line.replace("\t", " ").strip().partition(" ")
    rest = rest.strip()
    if command.upper() == "REM":
        return _words(rest) if rest.upper().startswith(("DATE ", "GENRE ")) else ("", "", "")
    text, _, last = rest[1:].rpartition('"') if rest.startswith('"') else rest.rpartition(" ")
    return command.upper(), text.strip(), last.strip()
