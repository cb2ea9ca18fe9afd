"""Separate one song from wherever it lies to wherever its stems go, and prove what was done."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from htmdsep.batch import STANDARD_STREAM, Job
from htmdsep.errors import HtmdsepError
from htmdsep.files import PARTIAL, partial_prefix
from htmdsep.fleet import places
from htmdsep.fleet.manifest import Output
from htmdsep.options import EngineName, FileOptions, Precision, StemName
from htmdsep.reader import reading
from htmdsep.separator import Separator
from htmdsep.stems import FileReport, Progress

LIVE_SECONDS = 600.0  # a song in work is written to far more often


class StoppedError(HtmdsepError):
    """A song was left because the run ends."""


@dataclass(frozen=True)
class Manner:
    """How a network is run, here or in a worker elsewhere; Separator says what each means."""

    device: str
    segment_seconds: float | None
    overlap: float
    batch_size: int | None
    precision: Precision
    engine: EngineName
    shifts: int

    def separator(self, weights: str | Path | None, threads: int | None = None) -> Separator:
        """Load weights, by name or path; raise HtmdsepError where that cannot be."""
        return Separator(
            weights,
            device=self.device,
            segment_seconds=self.segment_seconds,
            overlap=self.overlap,
            batch_size=self.batch_size,
            precision=self.precision,
            engine=self.engine,
            shifts=self.shifts,
            threads=threads,
        )


@dataclass(frozen=True)
class Done:
    """A song's stems stand: what was done, and the hashes that prove it later."""

    report: FileReport
    input_sha256: str
    input_stamp: str | None
    outputs: Mapping[StemName, Output]


def separate_job(
    separator: Separator, job: Job, options: FileOptions, progress: Progress | None = None
) -> Done:
    """Separate a job's source into its targets, all of them or none.

    Raises HtmdsepError where the source cannot be read or changes meanwhile, and where a target
    cannot be written; whatever the progress function raises ends the work, too.
    """
    with ExitStack() as stack:
        before = _stamp(job.source.name)
        with reading():
            path = stack.enter_context(_as_file(job.source.name))
            digest = places.sha256(str(path))
        hashes: dict[StemName, str] = {}

        def check(written: Mapping[StemName, Path]) -> None:
            if _stamp(job.source.name) not in (before, None):
                raise HtmdsepError("it was changed while it was read; separate it again")
            for stem, file in written.items():
                hashes[stem] = places.sha256(str(file))

        targets = stack.enter_context(_as_targets(job))
        report = separator.separate_file(path, targets, options, progress, check)
    if before is not None and _stamp(job.source.name) is None:
        report.notes.append("it has vanished since it was opened; the stems are whole")
    outputs = {}
    for stem, target in job.targets.items():
        report.stems[stem].path = target
        outputs[stem] = Output(job.names[stem], hashes[stem], places.stamp(target))
    return Done(report, digest, before, outputs)


def _stamp(name: str) -> str | None:
    return None if name == STANDARD_STREAM or _is_pipe(name) else places.stamp(name)


def _is_pipe(name: str) -> bool:
    return not places.is_url(name) and Path(name).is_fifo()


@contextmanager
def _as_file(name: str) -> Iterator[Path]:
    """Yield a path that can be sought: standard input, named pipes and URLs are stored first."""
    if name != STANDARD_STREAM and not places.is_url(name) and not _is_pipe(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder, ExitStack() as stack:
        stored = Path(folder) / f"stored{Path(name).suffix}"
        if places.is_url(name):
            places.fetch(name, stored)
        else:
            piped = name == STANDARD_STREAM
            stream = sys.stdin.buffer if piped else stack.enter_context(Path(name).open("rb"))
            with stored.open("wb") as file:
                shutil.copyfileobj(stream, file)
        yield stored


@contextmanager
def _as_targets(job: Job) -> Iterator[dict[StemName, Path]]:
    """Yield local paths for the stems; for URLs, what is there after a clean exit is uploaded."""
    if not places.is_url(job.out):
        yield {stem: Path(target) for stem, target in job.targets.items()}
        return
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        paths = {stem: Path(folder) / f"{stem}{Path(job.names[stem]).suffix}" for stem in job.names}
        yield paths
        with ExitStack() as undo:
            for stem, target in job.targets.items():
                if places.stamp(target) is None:
                    undo.callback(places.remove, target)
                places.store(paths[stem], target)
            undo.pop_all()


def remove_leavings(job: Job, untouched_seconds: float = 0.0) -> None:
    """Remove the temporary files of a process that was killed while it worked on this job.

    Files that were written to more recently are left: they may be those of a process that lives.
    """
    if places.is_url(job.out):
        return
    latest = time.time() - untouched_seconds
    for target in map(Path, job.targets.values()):
        prefix = partial_prefix(target)
        if not target.parent.is_dir():
            continue
        for path in target.parent.iterdir():
            if path.name.startswith(prefix) and path.name.endswith(PARTIAL):
                _remove_older(path, latest)


def _remove_older(path: Path, latest: float) -> None:
    try:
        if path.stat().st_mtime <= latest:
            path.unlink()
    except FileNotFoundError:
        pass  # its process lived, and has finished
