"""The tags of audio files: which are kept, and in which letters they are written."""

from __future__ import annotations

from collections.abc import Mapping

TAGS = ("title", "artist", "album", "date", "tracknumber", "genre", "copyright", "comment")
# What FFmpeg and taggers call some of them
SYNONYMS = {"track": "tracknumber", "year": "date"}
ID3_HEADER_LENGTH = 10


def clean_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return tags by names in small letters, without empty ones.

    Bytes that are not UTF-8, which FFmpeg's text holds as surrogates, are taken for Windows-1252:
    what RIFF INFO and ID3v1 are written in.
    """
    tags: dict[str, str] = {}
    for name, text in metadata.items():
        name = name.lower()
        text = legible(text).replace("\0", "").strip()
        if text:
            tags.setdefault(SYNONYMS.get(name, name), text)
    return tags


def ffmpeg_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags that are kept, as FFmpeg calls them."""
    kept = {name: tags[name] for name in TAGS if tags.get(name)}
    return {"track" if name == "tracknumber" else name: text for name, text in kept.items()}


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
