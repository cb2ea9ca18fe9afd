"""Sum up a manifest: what is done, what failed and why, how fast it went, and what sounds odd."""

from __future__ import annotations

import heapq
import json
import math
import re
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from htmdsep.fleet.ledger import read_index
from htmdsep.fleet.manifest import Row

SHOWN = 5  # songs of a kind that are named
CAUSES = 10
SILENT_RMS = 10 ** (-60 / 20)  # -60 dBFS: a stem that nobody will hear
VOICELESS_SHARE = 0.01  # of 0.1 s windows with vocals above -45 dBFS
FAR = 4.0  # robust standard deviations (1.4826 x median absolute deviation) from the median
FEWEST = 20  # songs from which on a median tells what is usual


@dataclass
class Named:
    """A song and what is remarkable about it."""

    input: str
    value: float


@dataclass
class Cause:
    """A reason of failures, how many have it, and one of them."""

    error: str
    songs: int
    example: str


@dataclass
class Report:
    """What the last rows of all songs come to."""

    songs: int = 0
    done: int = 0
    failed: int = 0
    unfinished: int = 0  # begun or interrupted, without result
    audio_hours: float = 0.0
    work_hours: float = 0.0  # added over everything that ran at the same time
    times_real_time: float | None = None  # of one worker: audio over work
    causes: list[Cause] = field(default_factory=list)
    slowest: list[Named] = field(default_factory=list)  # seconds of work a second of audio
    voiceless: list[Named] = field(default_factory=list)  # share of the time with vocals
    voiceless_songs: int = 0
    silent_accompaniment: list[Named] = field(default_factory=list)  # dBFS
    silent_accompaniment_songs: int = 0
    odd_balance: list[Named] = field(default_factory=list)  # vocals over accompaniment, dB
    odd_balance_songs: int = 0
    usual_balance_db: float | None = None
    balance_spread_db: float = 0.0  # as a standard deviation, from the median deviation
    clipped_songs: int = 0
    noted_songs: int = 0  # whose rows hold notes, such as damage that was passed over


def print_report(out: str, *, as_json: bool) -> int:
    """Print the report on a folder's manifests; return 1 where songs failed, else 0."""
    with read_index(out) as index:
        report = sum_up(index)
        # A second reading, as what is usual is known only now, and rows are not kept.
        _add_odd_balances(report, index)
    click.echo(json.dumps(asdict(report)) if as_json else "\n".join(_lines(report)))
    return 1 if report.failed else 0


def sum_up(rows: Iterable[Row]) -> Report:
    """Return the report on songs by their last rows, in memory that does not grow with rows."""
    report = Report()
    causes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    slowest: list[tuple[Any, ...]] = []
    balances = array("d")
    for row in rows:
        report.songs += 1
        if row.status == "failed":
            report.failed += 1
            kind = _kind(row.error or "")
            causes[kind] += 1
            examples.setdefault(kind, f"{row.input}: {row.error}")
        elif row.status != "done":
            report.unfinished += 1
        else:
            _count_done(report, row)
            pace = (row.seconds or 0.0) / max(row.audio_seconds or 0.0, 1e-3)
            _keep_most(slowest, (pace, row.input))
            balances.extend(value for value in [_balance_db(row)] if value is not None)
    if report.work_hours:
        report.times_real_time = report.audio_hours / report.work_hours
    report.causes = [Cause(kind, n, examples[kind]) for kind, n in causes.most_common(CAUSES)]
    report.slowest = [Named(name, value) for value, name in sorted(slowest, reverse=True)]
    if len(balances) >= FEWEST:
        report.usual_balance_db = statistics.median(balances)
        report.balance_spread_db = 1.4826 * statistics.median(
            abs(value - report.usual_balance_db) for value in balances
        )
    return report


def _count_done(report: Report, row: Row) -> None:
    report.done += 1
    report.audio_hours += (row.audio_seconds or 0.0) / 3600
    report.work_hours += (row.seconds or 0.0) / 3600
    report.clipped_songs += bool(row.result.get("clipped_samples"))
    report.noted_songs += bool(row.result.get("notes"))
    share = row.result.get("vocals_share")
    if share is not None and share < VOICELESS_SHARE:
        report.voiceless_songs += 1
        _name(report.voiceless, row, share)
    rms = _rms(row, "accompaniment")
    if rms is not None and rms < SILENT_RMS:
        report.silent_accompaniment_songs += 1
        _name(report.silent_accompaniment, row, _db(rms))


def _add_odd_balances(report: Report, rows: Iterable[Row]) -> None:
    """Name the songs whose vocals are far louder or softer than is usual in this batch."""
    usual, far = report.usual_balance_db, FAR * report.balance_spread_db
    if usual is None or not far:
        return
    most: list[tuple[Any, ...]] = []
    for row in rows:
        balance = _balance_db(row) if row.status == "done" else None
        if balance is not None and abs(balance - usual) > far:
            report.odd_balance_songs += 1
            _keep_most(most, (abs(balance - usual), row.input, balance))
    report.odd_balance = [Named(name, value) for _, name, value in sorted(most, reverse=True)]


def _balance_db(row: Row) -> float | None:
    """Return the vocals' level over the accompaniment's; None where either is silent."""
    vocals, accompaniment = _rms(row, "vocals"), _rms(row, "accompaniment")
    if vocals is None or accompaniment is None or min(vocals, accompaniment) < SILENT_RMS:
        return None
    return _db(vocals / accompaniment)


def _rms(row: Row, stem: str) -> float | None:
    level = row.result.get("levels", {}).get(stem)
    return None if level is None else float(level["rms"])


def _db(ratio: float) -> float:
    return 20 * math.log10(max(ratio, 1e-10))


def _name(songs: list[Named], row: Row, value: float) -> None:
    if len(songs) < SHOWN:
        songs.append(Named(row.input, value))


def _keep_most(heap: list[tuple[Any, ...]], entry: tuple[Any, ...]) -> None:
    heapq.heappush(heap, entry)
    if len(heap) > SHOWN:
        heapq.heappop(heap)


def _kind(error: str) -> str:
    """Return an error without what differs from song to song: numbers, names and addresses."""
    plain = re.sub(r"\S*[/\\]\S*", "...", error)
    return re.sub(r"\d[\d.,]*", "N", plain)


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.songs} songs: {report.done} done, {report.failed} failed, " + (
        f"{report.unfinished} unfinished"
    )
    if report.times_real_time is not None:
        yield (
            f"{report.audio_hours:.2f} hours of music in {report.work_hours:.2f} hours of work, "
            f"{report.times_real_time:.2f} times real time a worker"
        )
    for cause in report.causes:
        yield f"failed {cause.songs:>6}  {cause.error}"
        yield f"               such as {cause.example}"
    yield from _table("slowest", report.slowest, "{:.2f} s of work a second")
    yield from _table(
        f"{report.voiceless_songs} without audible vocals", report.voiceless, "{:.1%} of the time"
    )
    yield from _table(
        f"{report.silent_accompaniment_songs} with silent accompaniment",
        report.silent_accompaniment,
        "{:.0f} dBFS",
    )
    if report.usual_balance_db is not None:
        yield from _table(
            f"{report.odd_balance_songs} with an odd balance (usual: vocals "
            f"{report.usual_balance_db:+.1f} dB)",
            report.odd_balance,
            "{:+.1f} dB",
        )
    yield f"{report.clipped_songs} with clipped samples, {report.noted_songs} with notes"


def _table(title: str, songs: list[Named], form: str) -> Iterator[str]:
    if songs:
        yield f"{title}:"
        for song in songs:
            yield f"  {form.format(song.value):>24}  {song.input}"
