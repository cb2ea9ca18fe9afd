"""The tags of audio files: which are kept, and what each format calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

FREEFORM = "----"  # what tags in an MP4 begin with here that have no box of their own
REPLAYGAIN = "replaygain_"


class TagNames(NamedTuple):
    """What a tag is called besides its own name, which Vorbis comments have in capitals."""

    id3: str  # a frame of ID3v2.4
    mp4: str  # FFmpeg's name for its box


TAGS: dict[str, TagNames] = {name: TagNames(*names) for name, *names in (
    ("title", "TIT2", "title"), ("artist", "TPE1", "artist"), ("album", "TALB", "album"),
    ("albumartist", "TPE2", "album_artist"), ("composer", "TCOM", "composer"),
    ("date", "TDRC", "date"), ("tracknumber", "TRCK", "track"), ("discnumber", "TPOS", "disc"),
    ("genre", "TCON", "genre"), ("copyright", "TCOP", "copyright"),
    ("comment", "COMM", "comment"), ("lyrics", "USLT", "lyrics"), ("bpm", "TBPM", "tmpo"),
    ("initialkey", "TKEY", "----initialkey"), ("isrc", "TSRC", "----ISRC"),
    ("label", "TPUB", "----LABEL"),
    *((f"{REPLAYGAIN}{name}", "TXXX", f"{FREEFORM}{REPLAYGAIN}{name}")
      for name in ("track_gain", "track_peak", "album_gain", "album_peak")),
)}  # fmt: skip
# What FFmpeg and taggers call some of them
SYNONYMS = {
    "track": "tracknumber", "year": "date", "album_artist": "albumartist", "disc": "discnumber",
    "tbpm": "bpm", "tmpo": "bpm", "tempo": "bpm", "tkey": "initialkey", "key": "initialkey",
    "tsrc": "isrc", "publisher": "label", "organization": "label", "unsyncedlyrics": "lyrics",
    "uslt": "lyrics",
}  # fmt: skip
LONGEST = 16_384  # letters of a tag: all of them and a cover have to fit into 16 MiB in a FLAC
LYRICS = "lyrics-"  # with a language behind it, as FFmpeg calls those of an ID3 tag
ID3_HEADER_LENGTH = 10
ID3V1_LENGTH = 128
APE_HEADER_LENGTH = 32
LYRICS3 = re.compile(rb"LYRICSBEGIN.*?LYRICS(200|END)", re.DOTALL)
MP3_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # what they begin with


def clean_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return tags by names in small letters, without empty ones.

    Bytes that are not UTF-8, which FFmpeg's text holds as surrogates, are taken for Windows-1252:
    what RIFF INFO and ID3v1 are written in.
    """
    tags: dict[str, str] = {}
    for name, text in metadata.items():
        name = "lyrics" if name.lower().startswith(LYRICS) else name.lower()
        text = legible(text).replace("\0", "").strip()
        if text:
            tags.setdefault(SYNONYMS.get(name, name), text)
    return tags


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags that are kept, as text that can be written, of 16 384 letters at most."""
    kept = {name: tags[name][:LONGEST] for name in TAGS if tags.get(name)}
    return {name: text.encode("utf-8", "replace").decode() for name, text in kept.items()}


def without_replaygain(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without those that tell a song's level."""
    return {name: text for name, text in tags.items() if not name.startswith(REPLAYGAIN)}


def mp4_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags that are kept, as FFmpeg calls them in an MP4; freeform ones, too."""
    kept = {TAGS[name].mp4: text for name, text in kept_tags(tags).items()}
    with suppress(ValueError):  # what is no number is kept, and FFmpeg makes 0 of it
        kept["tmpo"] = str(round(float(kept.get("tmpo", ""))))
    return kept


def legible(text: str) -> str:
    """Return a text whose bytes that are no UTF-8, held as surrogates, are read as Windows-1252."""
    try:
        return text.encode("utf-8", "strict").decode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def id3_length(head: bytes) -> int:
    """Return how many bytes an ID3v2 tag takes up, by the first ten of a file; 0 without one."""
    numbers = head[6:ID3_HEADER_LENGTH]
    if len(numbers) < 4 or head[:3] != b"ID3" or 0xFF in head[3:5] or max(numbers) > 0x7F:
        return 0
    size = 0
    for number in numbers:
        size = size << 7 | number
    return ID3_HEADER_LENGTH + size + (ID3_HEADER_LENGTH if head[5] & 0x10 else 0)  # once more


def tags_length(data: bytes) -> int:
    """Return how many bytes the tags of an MP3 take up that something begins with."""
    length = 0
    while more := _tag_length(data[length:]):
        length += more
    return length


def _tag_length(data: bytes) -> int:
    if data.startswith(b"TAG"):
        return ID3V1_LENGTH
    if data.startswith(b"APETAGEX"):
        return APE_HEADER_LENGTH + int.from_bytes(data[12:16], "little")
    lyrics = LYRICS3.match(data)
    return id3_length(data) if lyrics is None else lyrics.end()
