"""Tell how files ended: people on standard error, programs on standard output."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from htmdsep.batch import STANDARD_STREAM
from htmdsep.console import peak_rss_bytes
from htmdsep.fleet.outcome import Outcome, cause

if TYPE_CHECKING:
    from htmdsep.settings import Settings


def tell(outcome: Outcome, settings: Settings) -> None:
    """Say how a file ended: on standard error, and as JSON on standard output."""
    label = outcome.job.source.label
    if outcome.error is not None:
        if settings.verbose:
            for line in "".join(traceback.format_exception(outcome.error)).splitlines():
                _say(line)
        _say(f"htmdsep: {label}: {cause(outcome.error)}")
    elif not settings.quiet:
        if outcome.report is None:
            if settings.existing != "resume" or settings.verbose:
                _say(f"{label}: skipped, its stems exist")
        else:
            for note in outcome.report.notes:
                _say(f"htmdsep: {label}: {note}")
            if settings.out != STANDARD_STREAM:
                _say(f"{label}: {', '.join(outcome.job.targets.values())}")
            if settings.verbose:
                _say(_speed(outcome))
    if settings.as_json:
        click.echo(json.dumps(_record(outcome)))


def tells_skipped(settings: Settings) -> bool:
    """Tell whether anything is said of a file that was passed over; of a batch it may be most."""
    said = not settings.quiet and (settings.existing != "resume" or settings.verbose)
    return said or settings.as_json


def _say(line: str) -> None:
    """Print one line on standard error; what a file name holds of control characters, escaped."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    tqdm.write("".join(shown), file=sys.stderr)


def _speed(outcome: Outcome) -> str:
    assert outcome.report is not None
    report = outcome.report
    place = f"{report.device}, {report.engine}" if report.engine else report.device
    return (
        f"  {report.seconds:.1f} s of {report.channels} x {report.sample_rate} Hz in "
        f"{outcome.wall_seconds:.1f} s ({report.seconds / outcome.wall_seconds:.1f} times real "
        f"time), {report.subtype}, weights {report.weights}, {report.precision} on {place}"
    )


def _record(outcome: Outcome) -> dict[str, Any]:
    record: dict[str, Any] = {
        "input": outcome.job.source.name,
        "status": outcome.status,
        "wall_seconds": round(outcome.wall_seconds, 3),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    if outcome.error is not None:
        record["error"] = cause(outcome.error)
    if outcome.report is not None:
        record.update(asdict(outcome.report))
    return record
