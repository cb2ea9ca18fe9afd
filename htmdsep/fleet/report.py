"""Sum up a manifest: what is done, what failed and why, how fast it went, and what sounds odd."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from htmdsep.fleet.ledger import read_index
from htmdsep.fleet.manifest import Row
from htmdsep.fleet.outliers import (
    SHOWN,
    SILENT_RMS,
    Named,
    Odd,
    balance_db,
    decibels,
    find_odd,
    keep_most,
    level_db,
    rms,
)

CAUSES = 10
VOICELESS_SHARE = 0.01  # of 0.1 s windows with vocals above -45 dBFS


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
    causes: list[Cause] = field(default_factory=list)  # the most frequent
    other_causes_songs: int = 0
    slowest: list[Named] = field(default_factory=list)  # seconds of work a second of audio
    voiceless: list[Named] = field(default_factory=list)  # share of the time with vocals
    voiceless_songs: int = 0
    silent_accompaniment: list[Named] = field(default_factory=list)  # dBFS
    silent_accompaniment_songs: int = 0
    balance: Odd = field(default_factory=Odd)  # vocals over accompaniment
    level: Odd = field(default_factory=Odd)  # of both together, in dBFS
    clipped_songs: int = 0
    noted_songs: int = 0  # whose rows hold notes, such as damage that was passed over


def print_report(out: str, *, as_json: bool) -> int:
    """Print the report on a folder's manifests; return 1 where songs failed, else 0."""
    with read_index(out) as index:
        report = report_on(index)
    click.echo(json.dumps(asdict(report)) if as_json else "\n".join(lines(report)))
    return 1 if report.failed else 0


def report_on(rows: Iterable[Row]) -> Report:
    """Return the report on songs by their last rows, which are read several times and not kept."""
    report = Report()
    causes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    slowest: list[tuple[Any, ...]] = []
    for row in rows:
        report.songs += 1
        if row.status == "failed":
            report.failed += 1
            kind = _kind(row)
            causes[kind] += 1
            examples.setdefault(kind, f"{row.input}: {row.error}")
        elif row.status != "done":
            report.unfinished += 1
        else:
            _count_done(report, row)
            pace = (row.seconds or 0.0) / max(row.audio_seconds or 0.0, 1e-3)
            keep_most(slowest, (pace, row.input))
    if report.work_hours:
        report.times_real_time = report.audio_hours / report.work_hours
    report.causes = [Cause(kind, n, examples[kind]) for kind, n in causes.most_common(CAUSES)]
    report.other_causes_songs = report.failed - sum(cause.songs for cause in report.causes)
    report.slowest = [Named(name, value) for value, name in sorted(slowest, reverse=True)]
    report.balance = find_odd(rows, balance_db)
    report.level = find_odd(rows, level_db)
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
    level = rms(row, "accompaniment")
    if level is not None and level < SILENT_RMS:
        report.silent_accompaniment_songs += 1
        _name(report.silent_accompaniment, row, decibels(level))


def _name(songs: list[Named], row: Row, value: float) -> None:
    if len(songs) < SHOWN:
        songs.append(Named(row.input, value))


def _kind(row: Row) -> str:
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


def lines(report: Report) -> Iterator[str]:
    """Yield the report as a table for people."""
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
    if report.other_causes_songs:
        yield f"failed {report.other_causes_songs:>6}  other causes"
    yield from _table("slowest", report.slowest, "{:.2f} s of work a second")
    yield from _table(
        f"{report.voiceless_songs} without audible vocals", report.voiceless, "{:.1%} of the time"
    )
    yield from _table(
        f"{report.silent_accompaniment_songs} with silent accompaniment",
        report.silent_accompaniment,
        "{:.0f} dBFS",
    )
    balance, level = report.balance, report.level
    yield from _table(
        f"{balance.songs} with an odd balance (usual: vocals {balance.usual_db or 0:+.1f} dB)",
        balance.named,
        "{:+.1f} dB",
    )
    yield from _table(
        f"{level.songs} with an odd level (usual: {level.usual_db or 0:.1f} dBFS)",
        level.named,
        "{:.1f} dBFS",
    )
    yield f"{report.clipped_songs} with clipped samples, {report.noted_songs} with notes"


def _table(title: str, songs: list[Named], form: str) -> Iterator[str]:
    if songs:
        yield f"{title}:"
        for song in songs:
            yield f"  {form.format(song.value):>24}  {song.input}"
