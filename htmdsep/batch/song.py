"""Separate one song from wherever it lies to wherever its stems go, and tell how that ended."""

from __future__ import annotations

import errno
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from htmdsep.batch import storage
from htmdsep.batch.manifest import OutputRecord
from htmdsep.batch.plan import Job, Source, Track
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.files import reading, sha256, stored_stream
from htmdsep.options import STANDARD_STREAM, RunOptions, StemName
from htmdsep.separation.report import FileReport, Progress
from htmdsep.separation.separator import Separator

# What ends one song and lets the others go on; PyAV's errors are OSErrors or ValueErrors.
FAILURES = (HtmdsepError, OSError, RuntimeError, ValueError, ArithmeticError, MemoryError)

# What a full or failing disk, or too little memory, and no song brings about
MACHINE_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE,
    errno.ENFILE,
}  # fmt: skip


class StoppedError(HtmdsepError):
    """A song was left because the run ends."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    source: Source
    wall_seconds: float = 0.0
    error: Exception | None = None  # of one that failed
    reason: str = ""  # why it was skipped, where not for its stems
    # Of one that is done: what was done, and the hashes that prove it later
    report: FileReport | None = None
    input_sha256: str | None = None
    input_stamp: str | None = None
    outputs: Mapping[StemName, OutputRecord] = field(default_factory=dict)

    @property
    def status(self) -> Literal["done", "skipped", "failed"]:
        """Return how it ended."""
        if self.error is not None:
            return "failed"
        return "skipped" if self.report is None else "done"


def is_songs_fault(error: BaseException | None) -> bool:
    """Tell whether the same would become of a song elsewhere, with room and memory."""
    while error is not None:
        if isinstance(error, (DiskError, MemoryError)):
            return False
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            return False
        error = error.__cause__
    return True


def error_line(error: Exception) -> str:
    """Return an error's message in one line, with its type where it is not one of ours."""
    message = " ".join(str(error).split())
    return message if isinstance(error, HtmdsepError) else f"{type(error).__name__}: {message}"


def try_job(separator: Separator, job: Job, progress: Progress | None = None) -> Outcome:
    """Separate a job's song, in whatever way that ends; what stops the run is raised."""
    started = time.monotonic()
    try:
        outcome = separate_job(separator, job, progress)
    except StoppedError:
        raise
    except FAILURES as error:
        outcome = Outcome(job.source, error=error)
    return replace(outcome, wall_seconds=time.monotonic() - started)


def separate_job(separator: Separator, job: Job, progress: Progress | None = None) -> Outcome:
    """Separate a job's source into its targets, all of them or none.

    Raises HtmdsepError where the source cannot be read or changes meanwhile, and where a target
    cannot be written; whatever the progress function raises ends the work, too.
    """
    with ExitStack() as stack:
        before = _stamp(job.source.name)
        with reading():
            path = stack.enter_context(_as_file(job.source.name))
            digest = sha256(path)
        hashes: dict[StemName, str] = {}

        def check(written: Mapping[StemName, Path]) -> None:
            if _stamp(job.source.name) not in (before, None):
                raise HtmdsepError("it was changed while it was read; separate it again")
            with ThreadPoolExecutor(len(written)) as pool:
                hashes.update(zip(written, pool.map(sha256, written.values()), strict=True))

        targets = stack.enter_context(_as_targets(job))
        track = job.source.track
        report = separator.separate_file(
            path,
            targets,
            options=_of_track(separator.options, track),
            tags=dict(track.tags if track else ()),
            progress=progress,
            check=check,
            overwrite=job.overwrite,
        )
    if before is not None and _stamp(job.source.name) is None:
        report.notes.append("it has vanished since it was opened; the stems are whole")
    outputs = {}
    for stem, target in job.targets.items():
        report.stems[stem].path = target
        outputs[stem] = OutputRecord(job.names[stem], hashes[stem], storage.stamp(target))
    return Outcome(
        job.source, report=report, input_sha256=digest, input_stamp=before, outputs=outputs
    )


def _of_track(options: RunOptions, track: Track | None) -> RunOptions:
    """Return options for a track, of which, too, some may be asked for."""
    if track is None:
        return options
    wanted = options.duration_seconds
    if track.duration_seconds is not None:
        left = track.duration_seconds - options.start_seconds
        if left <= 0:
            raise HtmdsepError(f"this track is {track.duration_seconds:.3f} s long; begin earlier")
        wanted = left if wanted is None else min(left, wanted)
    start = track.start_seconds + options.start_seconds
    return replace(options, start_seconds=start, duration_seconds=wanted)


def _stamp(name: str) -> str | None:
    """Return the stamp of what can be read twice; of streams there is none."""
    is_stream = name == STANDARD_STREAM or (not storage.is_url(name) and Path(name).is_fifo())
    return None if is_stream else storage.stamp(name)


@contextmanager
def _as_file(name: str) -> Iterator[Path]:
    """Yield a path that can be sought: standard input, named pipes and URLs are stored first."""
    suffix = Path(name).suffix
    if storage.is_url(name):
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            stored = Path(folder) / f"stored{suffix}"
            storage.fetch(name, stored)
            yield stored
    elif name == STANDARD_STREAM:
        if sys.stdin is None:
            raise HtmdsepError("there is no standard input here; name a file")
        with stored_stream(sys.stdin.buffer) as stored:
            yield stored
    elif Path(name).is_fifo():
        with Path(name).open("rb") as stream, stored_stream(stream, suffix) as stored:
            yield stored
    else:
        yield Path(name)


@contextmanager
def _as_targets(job: Job) -> Iterator[dict[StemName, Path]]:
    """Yield local paths for the stems; for URLs, what is there after a clean exit is uploaded."""
    if not storage.is_url(job.out):
        yield {stem: Path(target) for stem, target in job.targets.items()}
        return
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        names = list(job.names.values())  # one for both, if they go into one file
        places = [f"{names.index(name)}{''.join(Path(name).suffixes[-2:])}" for name in names]
        paths = {stem: Path(folder) / place for stem, place in zip(job.names, places, strict=True)}
        yield paths
        with ExitStack() as undo:
            for target, path in {job.targets[stem]: path for stem, path in paths.items()}.items():
                if storage.stamp(target) is None:
                    undo.callback(storage.remove, target)
                storage.store(path, target)
            undo.pop_all()
