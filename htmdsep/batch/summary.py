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
from htmdsep.options import STEM_NAMES

CAUSES = 10
SHOWN = 5  # songs of a kind that are named
VOICELESS_SHARE = 0.01  # of 0.1 s windows with vocals above -45 dBFS
FAR = 4.0  # robust standard deviations (1.4826 x median absolute deviation) from the median
LEAST_FAR_DB = 3.0  # however alike the others are
SILENCE = 1e-10  # of full scale: -200 dBFS
FEWEST = 20  # songs from which on a median tells what is usual

Measured = tuple[float, str]  # a measure of a song, and its name


class _Song(NamedTuple):
    """What is kept of a song that is done; levels are None where a stem is not there."""

    name: str
    audio_seconds: float
    work_seconds: float
    pace: float  # seconds of work a second of audio
    vocals_share: float | None
    accompaniment_dbfs: float | None
    balance_db: float | None  # the vocals' level over the accompaniment's, unless one is silent
    level_dbfs: float | None  # of both stems together


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
    ratios = {stem: max(float(level["rms"]), SILENCE) for stem, level in levels.items()}
    dbfs = {stem: 20 * math.log10(ratio) for stem, ratio in ratios.items()}
    balance = level = None
    if dbfs.keys() >= set(STEM_NAMES):
        level = 20 * math.log10(math.hypot(*ratios.values()))
        if min(dbfs.values()) >= INAUDIBLE_DBFS:
            balance = dbfs["vocals"] - dbfs["accompaniment"]
    audio, work = row.audio_seconds or 0.0, row.seconds or 0.0
    pace, share = work / max(audio, 1e-3), row.result.get("vocals_share")
    return _Song(row.input, audio, work, pace, share, dbfs.get("accompaniment"), balance, level)


def _times(done: Sequence[_Song]) -> dict[str, Any]:
    audio = sum(song.audio_seconds for song in done)
    work = sum(song.work_seconds for song in done)
    rate = audio / work if work else None  # of one worker
    return {"audio_hours": audio / 3600, "work_hours": work / 3600, "times_real_time": rate}


def _remarkable(done: Sequence[_Song]) -> dict[str, Any]:
    def measured(what: str) -> list[Measured]:
        return [(x, song.name) for song in done if (x := getattr(song, what)) is not None]

    voiceless = [one for one in measured("vocals_share") if one[0] < VOICELESS_SHARE]
    silent = [one for one in measured("accompaniment_dbfs") if one[0] < INAUDIBLE_DBFS]
    return {
        "slowest": _named(heapq.nlargest(SHOWN, measured("pace"))),
        "voiceless": _named(voiceless[:SHOWN]),
        "voiceless_songs": len(voiceless),
        "silent_accompaniment": _named(silent[:SHOWN]),
        "silent_accompaniment_songs": len(silent),
        "balance": _find_odd(measured("balance_db")),
        "level": _find_odd(measured("level_dbfs")),
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
