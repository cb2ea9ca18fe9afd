"""Find the songs whose levels are far from what is usual in their batch."""

from __future__ import annotations

import heapq
import math
import statistics
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from htmdsep.fleet.manifest import Row

SHOWN = 5  # songs of a kind that are named
SILENT_RMS = 10 ** (-60 / 20)  # -60 dBFS: a stem that nobody will hear
FAR = 4.0  # robust standard deviations (1.4826 x median absolute deviation) from the median
LEAST_FAR_DB = 3.0  # however alike the others are
FEWEST = 20  # songs from which on a median tells what is usual

Measure = Callable[[Row], float | None]


@dataclass
class Named:
    """A song and what is remarkable about it."""

    input: str
    value: float


@dataclass
class Odd:
    """What is usual, and the songs that are far from it."""

    usual_db: float | None = None  # None where there are too few songs to tell
    spread_db: float = 0.0  # as a standard deviation, from the median deviation
    songs: int = 0
    named: list[Named] = field(default_factory=list)  # the farthest


def find_odd(rows: Iterable[Row], measure: Measure) -> Odd:
    """Return the songs for which a measure is far from its median.

    The rows are read twice, as what is usual is known only after the first time; kept are eight
    bytes a song.
    """
    values = array("d", (x for x in map(measure, rows) if x is not None))
    if len(values) < FEWEST:
        return Odd()
    usual = statistics.median(values)
    odd = Odd(usual, 1.4826 * statistics.median(abs(value - usual) for value in values))
    far = max(FAR * odd.spread_db, LEAST_FAR_DB)
    most: list[tuple[Any, ...]] = []
    for row in rows:
        value = measure(row)
        if value is not None and abs(value - usual) > far:
            odd.songs += 1
            keep_most(most, (abs(value - usual), row.input, value))
    odd.named = [Named(name, value) for _, name, value in sorted(most, reverse=True)]
    return odd


def balance_db(row: Row) -> float | None:
    """Return the vocals' level over the accompaniment's; None where either is silent."""
    vocals, accompaniment = rms(row, "vocals"), rms(row, "accompaniment")
    if vocals is None or accompaniment is None or min(vocals, accompaniment) < SILENT_RMS:
        return None
    return decibels(vocals / accompaniment)


def level_db(row: Row) -> float | None:
    """Return the level of both stems together (dBFS); None where it is unknown."""
    vocals, accompaniment = rms(row, "vocals"), rms(row, "accompaniment")
    if vocals is None or accompaniment is None:
        return None
    return decibels(math.hypot(vocals, accompaniment))


def rms(row: Row, stem: str) -> float | None:
    """Return a stem's level (full scale at 1) in a song that is done."""
    level = row.result.get("levels", {}).get(stem) if row.status == "done" else None
    return None if level is None else float(level["rms"])


def decibels(ratio: float) -> float:
    """Return a ratio of amplitudes in decibels; of nothing at all, -200."""
    return 20 * math.log10(max(ratio, 1e-10))


def keep_most(heap: list[tuple[Any, ...]], entry: tuple[Any, ...]) -> None:
    """Put an entry on a heap of the largest few."""
    heapq.heappush(heap, entry)
    if len(heap) > SHOWN:
        heapq.heappop(heap)
