"""Sum up a manifest: what is done, what failed and why, how fast it went, and what sounds odd."""

from __future__ import annotations

import heapq
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from htmdsep.batch.manifest import ManifestRow
from htmdsep.batch.storage import is_url
from htmdsep.dsp.levels import INAUDIBLE_DBFS

CAUSES = 10
SHOWN = 5  # songs of a kind that are named
VOICELESS_SHARE = 0.01  # of 0.1 s windows with vocals above -45 dBFS
FAR = 4.0  # robust standard deviations (1.4826 x median absolute deviation) from the median
LEAST_FAR_DB = 3.0  # however alike the others are
FEWEST = 20  # songs from which on a median tells what is usual

Measured = tuple[float, str]  # a measure of a song, and its name


class _Song(NamedTuple):
    """What is kept of a song that is done."""

    name: str
    audio_seconds: float
    work_seconds: float
    vocals_share: float | None
    vocals_dbfs: float | None
    accompaniment_dbfs: float | None

    @property
    def pace(self) -> float:
        return self.work_seconds / max(self.audio_seconds, 1e-3)

    @property
    def balance_db(self) -> float | None:
        """The vocals' level over the accompaniment's; None where either is silent."""
        vocals, accompaniment = self.vocals_dbfs, self.accompaniment_dbfs
        if vocals is None or accompaniment is None or min(vocals, accompaniment) < INAUDIBLE_DBFS:
            return None
        return vocals - accompaniment

    @property
    def level_dbfs(self) -> float | None:
        """The level of both stems together."""
        if self.vocals_dbfs is None or self.accompaniment_dbfs is None:
            return None
        return _decibels(
            math.hypot(10 ** (self.vocals_dbfs / 20), 10 ** (self.accompaniment_dbfs / 20))
        )


def summarise(rows: Iterable[ManifestRow]) -> dict[str, Any]:
    """Return what songs' last rows come to, with the keys of `htmdsep --report --json`.

    Hours of work are added over all that ran at the same time; the slowest songs have seconds of
    work a second of audio, the voiceless ones the share of the time with vocals, silent
    accompaniments their level in dBFS. The rows are read once and not kept.
    """
    counts: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    done: list[_Song] = []
    for row in rows:
        status = "gone" if row.status == "failed" and _is_gone(row.input) else row.status
        counts[status] += 1
        if status == "failed":
            kind = _kind(row)
            causes[kind] += 1
            examples.setdefault(kind, f"{row.input}: {row.error}")
        elif status == "done":
            done.append(_song(row))
            clipped = ("clipped_samples", "clipped_stem_samples")
            counts["clipped"] += any(row.result.get(key) for key in clipped)
            counts["noted"] += bool(row.result.get("notes"))
    shown = causes.most_common(CAUSES)
    return {
        "songs": sum(counts[one] for one in ("done", "failed", "gone", "started", "interrupted")),
        "done": counts["done"],
        "failed": counts["failed"],
        "gone": counts["gone"],  # failed, and no longer there
        "unfinished": counts["started"] + counts["interrupted"],
        **_times(done),
        "causes": [{"error": e, "songs": n, "example": examples[e]} for e, n in shown],
        "other_causes_songs": counts["failed"] - sum(songs for _, songs in shown),
        **_remarkable(done),
        "clipped_songs": counts["clipped"],
        "noted_songs": counts["noted"],
    }


def _is_gone(name: str) -> bool:
    """Tell whether a song was removed; where its folder is missing, too, a disk may be."""
    path = Path(name)
    is_file = path.is_absolute() and not is_url(name)
    return is_file and path.parent.is_dir() and not os.path.lexists(path)


def _kind(row: ManifestRow) -> str:
    """Return a row's error without what differs from song to song: names and numbers."""
    plain = row.error or ""
    # The song's own names first, where there is no slash in them to tell, or a blank to mislead.
    outputs = [output.path for output in row.outputs.values()]
    folders = [path.rpartition("/")[0] for path in outputs]
    blank = (name for name in (*outputs, *folders) if any(map(str.isspace, name)))
    for name in filter(None, (row.input, *blank)):
        plain = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "/", plain)
    plain = re.sub(r"\S*[/\\]\S*", "...", plain)
    return re.sub(r"\d[\d.,]*", "N", plain)


def _song(row: ManifestRow) -> _Song:
    levels = row.result.get("levels", {})
    vocals, accompaniment = (
        _decibels(float(levels[stem]["rms"])) if stem in levels else None
        for stem in ("vocals", "accompaniment")
    )
    share = row.result.get("vocals_share")
    times = row.audio_seconds or 0.0, row.seconds or 0.0
    return _Song(row.input, *times, share, vocals, accompaniment)


def _times(done: Sequence[_Song]) -> dict[str, Any]:
    audio = sum(song.audio_seconds for song in done)
    work = sum(song.work_seconds for song in done)
    rate = audio / work if work else None  # of one worker
    return {"audio_hours": audio / 3600, "work_hours": work / 3600, "times_real_time": rate}


def _remarkable(done: Sequence[_Song]) -> dict[str, Any]:
    shares = ((song.vocals_share, song.name) for song in done if song.vocals_share is not None)
    voiceless = [one for one in shares if one[0] < VOICELESS_SHARE]
    levels = ((s.accompaniment_dbfs, s.name) for s in done if s.accompaniment_dbfs is not None)
    silent = [one for one in levels if one[0] < INAUDIBLE_DBFS]
    return {
        "slowest": _named(heapq.nlargest(SHOWN, ((song.pace, song.name) for song in done))),
        "voiceless": _named(voiceless[:SHOWN]),
        "voiceless_songs": len(voiceless),
        "silent_accompaniment": _named(silent[:SHOWN]),
        "silent_accompaniment_songs": len(silent),
        "balance": _find_odd([(x, s.name) for s in done if (x := s.balance_db) is not None]),
        "level": _find_odd([(x, s.name) for s in done if (x := s.level_dbfs) is not None]),
    }


def _find_odd(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return what is usual, which songs are the farthest from it, and how many are far."""
    if len(measured) < FEWEST:
        return {"usual_db": None, "spread_db": 0.0, "songs": 0, "named": []}
    usual = statistics.median(value for value, _ in measured)
    spread = 1.4826 * statistics.median(abs(value - usual) for value, _ in measured)
    far = max(FAR * spread, LEAST_FAR_DB)
    odd = [one for one in measured if abs(one[0] - usual) > far]
    farthest = heapq.nlargest(SHOWN, odd, key=lambda one: abs(one[0] - usual))
    return {"usual_db": usual, "spread_db": spread, "songs": len(odd), "named": _named(farthest)}


def _named(measured: Iterable[Measured]) -> list[dict[str, Any]]:
    return [{"input": name, "value": value} for value, name in measured]


def _decibels(ratio: float) -> float:
    """Return a ratio of amplitudes in decibels; of nothing at all, -200."""
    return 20 * math.log10(max(ratio, 1e-10))
