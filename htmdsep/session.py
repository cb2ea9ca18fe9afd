"""One run of the command line over its inputs: plan, separate, tell."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from htmdsep.batch import STANDARD_STREAM, Plan, PlanError, plan_jobs
from htmdsep.engines import file_options, pick_engine
from htmdsep.errors import HtmdsepError
from htmdsep.fleet.ledger import Ledger, has_manifest, open_ledger
from htmdsep.fleet.outcome import Outcome, Task
from htmdsep.fleet.places import is_url
from htmdsep.fleet.scribe import Scribe, options_sha256
from htmdsep.fleet.shards import parse_shard, take_shard
from htmdsep.fleet.sources import find_sources, read_list
from htmdsep.fleet.standing import SKIP, Terms, judge
from htmdsep.fleet.survey import survey
from htmdsep.fleet.work import LIVE_SECONDS, remove_leavings
from htmdsep.options import STEM_NAMES
from htmdsep.progress import Bars
from htmdsep.telling import tell, tells_skipped

if TYPE_CHECKING:
    from htmdsep.settings import Settings


def run_session(settings: Settings) -> int:
    """Separate the inputs and return the exit status: 0 all done or skipped, 1 some failed.

    Raises PlanError where outputs would collide or another batch runs there, and HtmdsepError
    where the weights or the device cannot be used; nothing has been done then.
    """
    with _out_folder(settings) as out, ExitStack() as stack:
        plan = _plan(settings, out)
        engine = pick_engine(settings)
        ledger = None
        if _keeps_manifest(settings, plan, out):
            shard = parse_shard(settings.shard) if settings.shard else None
            ledger = stack.enter_context(open_ledger(out, shard))
        desk = Desk(settings, ledger, _terms(settings, engine.weights_sha256), len(plan))
        for outcome in engine.run(desk.tasks(plan), desk.scribe, desk.bars, len(plan)):
            desk.settle(outcome)
        desk.bars.close()
        if settings.out == STANDARD_STREAM and not desk.counts["failed"]:
            for target in next(iter(plan)).targets.values():
                with Path(target).open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    if not settings.quiet:
        words = (f"{desk.counts[status]} {status}" for status in ("done", "skipped", "failed"))
        click.echo(", ".join(words), err=True)
    return 1 if desk.counts["failed"] else 0


class Desk:
    """Decides on every job as its turn comes, and counts and tells how each ends."""

    def __init__(self, settings: Settings, ledger: Ledger | None, terms: Terms, jobs: int) -> None:
        self._settings = settings
        self._terms = terms
        self._shared = ledger is not None and not ledger.exclusive
        # Reading a million rows takes seconds, which only --resume has to spend.
        self._index = ledger.index if ledger and terms.existing == "resume" else None
        self.scribe = Scribe(ledger, terms)
        self.bars = Bars(jobs, shown=sys.stderr.isatty() and not settings.quiet)
        self.counts: Counter[str] = Counter()

    def tasks(self, plan: Plan) -> Iterator[Task]:
        """Yield what is to be done; what is not is settled at once."""
        for source, stands in survey(plan, self._index, self._terms):
            if stands and not tells_skipped(self._settings):
                self._count("skipped", 0.0)
                continue
            job = plan.job(source)
            verdict = SKIP if stands else judge(job, self._index, self._terms)
            if verdict.fresh is not None:
                self.scribe.refresh(verdict.fresh)
            if verdict.action == "do":
                if verdict.crashed:
                    remove_leavings(job, LIVE_SECONDS if self._shared else 0.0)
                yield Task(job, verdict.attempt)
                continue
            error = HtmdsepError(verdict.reason) if verdict.action == "refuse" else None
            self.settle(Outcome(job, 0.0, error=error))

    def settle(self, outcome: Outcome) -> None:
        """Count a job that has ended, and tell how."""
        self._count(outcome.status, outcome.report.seconds if outcome.report else 0.0)
        tell(outcome, self._settings)

    def _count(self, status: str, audio_seconds: float) -> None:
        self.counts[status] += 1
        self.bars.finish_file(audio_seconds)


def _plan(settings: Settings, out: str) -> Plan:
    """Find the inputs, settle their outputs, and take the shard's part."""
    found = find_sources(
        settings.inputs,
        out,
        recursive=settings.recursive,
        base=settings.base,
        listed=read_list(settings.list_file) if settings.list_file is not None else (),
    )
    sources = list(found)
    if settings.out == STANDARD_STREAM and len(sources) != 1:
        raise PlanError(f"standard output takes the stem of one input, not of {len(sources)}")
    stems = STEM_NAMES if settings.stems == "both" else (settings.stems,)
    plan = plan_jobs(sources, out, settings.filename, stems, settings.file_format)
    if settings.shard is None:
        return plan
    return replace(plan, sources=take_shard(sources, parse_shard(settings.shard)))


def _keeps_manifest(settings: Settings, plan: Plan, out: str) -> bool:
    """Tell whether this is a batch: all but one named file, which joins a manifest that is there.

    The first of several songs may be a batch's last, so their number does not decide.
    """
    if settings.out == STANDARD_STREAM:
        return False
    named = settings.list_file is None and settings.shard is None and len(settings.inputs) == 1
    alone = named and len(plan) == 1 and plan.sources[0].name == settings.inputs[0]
    return not alone or settings.existing == "resume" or has_manifest(out)


def _terms(settings: Settings, weights_sha256: str) -> Terms:
    options = options_sha256(
        file_options(settings),
        segment_seconds=settings.segment_seconds,
        overlap=settings.overlap,
        precision=settings.precision,
        shifts=settings.shifts,
    )
    return Terms(
        settings.existing or "refuse",
        options,
        weights_sha256,
        retries=settings.retries,
        verify=settings.verify,
    )


@contextmanager
def _out_folder(settings: Settings) -> Iterator[str]:
    """Yield the folder for the stems; for standard output one that vanishes afterwards."""
    if settings.out == STANDARD_STREAM:
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            yield folder
        return
    if is_url(settings.out):
        yield settings.out.rstrip("/")
        return
    out = Path(settings.out)
    made_here = not out.exists()
    try:
        yield str(out)
    finally:
        if made_here and out.is_dir() and not any(out.iterdir()):
            out.rmdir()  # nothing was written
