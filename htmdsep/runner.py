"""Work through the jobs: every file is tried, and each ends as done, skipped or failed."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from htmdsep.batch import STANDARD_STREAM, Job
from htmdsep.errors import HtmdsepError
from htmdsep.options import Existing, FileOptions
from htmdsep.progress import Bars
from htmdsep.separator import Separator
from htmdsep.stems import FileReport


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    job: Job
    wall_seconds: float
    report: FileReport | None = None  # of a job that is done
    error: Exception | None = None  # of one that failed; neither for one that was skipped

    @property
    def status(self) -> Literal["done", "skipped", "failed"]:
        if self.error is not None:
            return "failed"
        return "skipped" if self.report is None else "done"


@dataclass(frozen=True)
class Runner:
    """Everything the jobs of a run share."""

    separator: Separator
    options: FileOptions
    existing: Existing
    bars: Bars

    def run(self, jobs: Sequence[Job], at_once: int) -> Iterator[Outcome]:
        """Yield the outcome of every job, as it ends; those at once share the processor."""
        if at_once == 1 or len(jobs) == 1:
            for job in jobs:
                yield self._outcome(job, threading.Event())
            return
        stop = threading.Event()
        pool = ThreadPoolExecutor(at_once)
        try:
            futures = [pool.submit(self._outcome, job, stop) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        finally:
            # Where a signal interrupts, at whatever point: what is waiting never starts, what is
            # running ends at its next block and removes its files.
            stop.set()
            pool.shutdown(cancel_futures=True)

    def _outcome(self, job: Job, stop: threading.Event) -> Outcome:
        started = time.monotonic()
        report, error = None, None
        try:
            report = self._separate(job, stop)
        except (HtmdsepError, OSError, RuntimeError, MemoryError) as failure:
            error = failure
        self.bars.finish_file()
        return Outcome(job, time.monotonic() - started, report, error)

    def _separate(self, job: Job, stop: threading.Event) -> FileReport | None:
        if job.source.problem is not None:
            raise HtmdsepError(job.source.problem)
        present = [path for path in job.targets.values() if path.exists()]
        if self.existing == "skip" and len(present) == len(job.targets):
            return None
        if self.existing == "refuse" and present:
            raise HtmdsepError(f"{present[0]} exists already; use --overwrite or --skip-existing")
        with self.bars.file(job.source.label) as show, _as_file(job.source.path) as path:

            def progress(seconds: float, total_seconds: float | None) -> None:
                if stop.is_set():
                    raise HtmdsepError("interrupted")
                show(seconds, total_seconds)

            return self.separator.separate_file(path, job.targets, self.options, progress)


@contextmanager
def _as_file(path: Path) -> Iterator[Path]:
    """Yield a path that can be sought: standard input and named pipes are stored first."""
    piped = str(path) == STANDARD_STREAM
    if not piped and not path.is_fifo():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder, ExitStack() as stack:
        stream = sys.stdin.buffer if piped else stack.enter_context(path.open("rb"))
        stored = Path(folder) / "stored"
        with stored.open("wb") as file:
            shutil.copyfileobj(stream, file)
        yield stored
