"""Cut a batch into shards of about equal duration, the same on every machine."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from htmdsep.batch import PlanError, Source
from htmdsep.fleet import places

# Reading a header takes about 0.1 ms on a local disk and many times that on a network's.
MAX_HEADERS = 20_000
HEADER_SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".oga", ".caf", ".w64", ".rf64")
# Bytes a second where headers are not read, as files usually are: 44.1 kHz stereo, 16 bits; about
# 60 % of that; and 256 kbit/s.
BYTES_A_SECOND = {
    **dict.fromkeys((".wav", ".wave", ".aif", ".aiff", ".caf", ".w64", ".rf64", ".au"), 176_400),
    **dict.fromkeys((".flac", ".ape", ".wv", ".tta", ".tak"), 106_000),
}
OTHER_BYTES_A_SECOND = 32_000


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
    weights = _durations(sources)
    order = sorted(range(len(sources)), key=lambda i: (-weights[i], sources[i].name))
    loads = [(0.0, number) for number in range(1, shard.count + 1)]
    mine = bytearray(len(sources))
    for place in order:
        load, number = loads[0]
        # A song without a known duration counts a little, so that those are spread, too.
        heapq.heapreplace(loads, (load + max(weights[place], 0.001), number))
        mine[place] = number == shard.number
    return [source for source, taken in zip(sources, mine, strict=True) if taken]


def _durations(sources: Sequence[Source]) -> list[float]:
    """Return seconds: from headers where there are not too many, otherwise from sizes."""
    read_headers = len(sources) <= MAX_HEADERS
    return [_duration(source.name, read_headers) for source in sources]


def _duration(name: str, read_header: bool) -> float:
    suffix = "." + name.rpartition(".")[2].lower()
    if read_header and suffix in HEADER_SUFFIXES and not places.is_url(name):
        import soundfile

        try:
            return float(soundfile.info(name).duration)
        except (soundfile.LibsndfileError, TypeError, UnicodeError):
            pass  # its job will say what is wrong
    return places.size_of(places.known_stamp(name)) / BYTES_A_SECOND.get(
        suffix, OTHER_BYTES_A_SECOND
    )
