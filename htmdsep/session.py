"""One run of the command line over its inputs: plan, separate, tell."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from htmdsep.batch import STANDARD_STREAM, PlanError, find_sources, plan_jobs
from htmdsep.errors import HtmdsepError
from htmdsep.options import STEM_NAMES, FileOptions
from htmdsep.progress import Bars
from htmdsep.runner import Outcome, Runner
from htmdsep.separator import Separator

if TYPE_CHECKING:
    from htmdsep.settings import Settings


def run_session(settings: Settings) -> int:
    """Separate the inputs and return the exit status: 0 all done or skipped, 1 some failed.

    Raises PlanError where outputs would collide, and HtmdsepError where the weights or the device
    cannot be used; nothing has been done then.
    """
    with _out_folder(settings) as out:
        sources = list(find_sources(settings.inputs, out, recursive=settings.recursive))
        if settings.out == STANDARD_STREAM and len(sources) != 1:
            raise PlanError(f"standard output takes the stem of one input, not of {len(sources)}")
        stems = STEM_NAMES if settings.stems == "both" else (settings.stems,)
        jobs = plan_jobs(sources, out, settings.filename, stems, settings.file_format)
        shown = sys.stderr.isatty() and not settings.quiet
        bars = Bars(len(jobs), shown=shown)
        runner = Runner(
            _separator(settings), _options(settings), settings.existing or "refuse", bars
        )
        counts: Counter[str] = Counter()
        for outcome in runner.run(jobs, settings.jobs):
            counts[outcome.status] += 1
            _tell(outcome, settings)
        bars.close()
        if settings.out == STANDARD_STREAM and not counts["failed"]:
            for target in jobs[0].targets.values():
                with target.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    if not settings.quiet:
        words = (f"{counts[status]} {status}" for status in ("done", "skipped", "failed"))
        click.echo(", ".join(words), err=True)
    return 1 if counts["failed"] else 0


def _separator(settings: Settings) -> Separator:
    return Separator(
        settings.weights or settings.name,
        device=settings.device,
        segment_seconds=settings.segment_seconds,
        overlap=settings.overlap,
        batch_size=settings.batch_size,
        precision=settings.precision,
        stereo=settings.stereo,
    )


def _options(settings: Settings) -> FileOptions:
    return FileOptions(
        file_format=settings.file_format,
        subtype=settings.subtype,
        sample_rate=settings.sample_rate,
        start_seconds=settings.start_seconds,
        duration_seconds=settings.duration_seconds,
        clip_mode=settings.clip_mode,
    )


@contextmanager
def _out_folder(settings: Settings) -> Iterator[Path]:
    """Yield the folder for the stems; for standard output one that vanishes afterwards."""
    if settings.out == STANDARD_STREAM:
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            yield Path(folder)
        return
    out = Path(settings.out)
    made_here = not out.exists()
    try:
        yield out
    finally:
        if made_here and out.is_dir() and not any(out.iterdir()):
            out.rmdir()  # nothing was written


def _tell(outcome: Outcome, settings: Settings) -> None:
    """Say how a file ended: on standard error, and as JSON on standard output."""
    label = outcome.job.source.label
    if outcome.error is not None:
        if settings.verbose:
            for line in "".join(traceback.format_exception(outcome.error)).splitlines():
                _say(line)
        _say(f"htmdsep: {label}: {_cause(outcome.error)}")
    elif not settings.quiet:
        if outcome.report is None:
            _say(f"{label}: skipped, its stems exist")
        else:
            for note in outcome.report.notes:
                _say(f"htmdsep: {label}: {note}")
            if settings.out != STANDARD_STREAM:
                _say(f"{label}: {', '.join(map(str, outcome.job.targets.values()))}")
            if settings.verbose:
                _say(_speed(outcome))
    if settings.as_json:
        click.echo(json.dumps(_record(outcome)))


def _say(line: str) -> None:
    """Print one line on standard error; what a file name holds of control characters, escaped."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    tqdm.write("".join(shown), file=sys.stderr)


def _cause(error: Exception) -> str:
    """Return an error's message in one line, with its type where it is not one of ours."""
    message = " ".join(str(error).split())
    return message if isinstance(error, HtmdsepError) else f"{type(error).__name__}: {message}"


def _speed(outcome: Outcome) -> str:
    assert outcome.report is not None
    report = outcome.report
    return (
        f"  {report.seconds:.1f} s of {report.channels} x {report.sample_rate} Hz in "
        f"{outcome.wall_seconds:.1f} s ({report.seconds / outcome.wall_seconds:.1f} times real "
        f"time), {report.subtype}, weights {report.weights}, {report.precision} on {report.device}"
    )


def _record(outcome: Outcome) -> dict[str, Any]:
    record: dict[str, Any] = {
        "input": str(outcome.job.source.path),
        "status": outcome.status,
        "wall_seconds": round(outcome.wall_seconds, 3),
        "peak_rss_bytes": _peak_rss_bytes(),
    }
    if outcome.error is not None:
        record["error"] = _cause(outcome.error)
    if outcome.report is not None:
        record.update(asdict(outcome.report))
    return record


def _peak_rss_bytes() -> int | None:
    """Return the largest memory the process has had; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
