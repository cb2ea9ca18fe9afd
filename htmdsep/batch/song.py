"""Separate one song from wherever it lies to wherever its stems go, and write what became of it."""

from __future__ import annotations

import errno
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from htmdsep.audio.reader import reading
from htmdsep.batch import storage
from htmdsep.batch.manifest import ManifestRow, OutputRecord, Status, now, row_id
from htmdsep.batch.manifest_file import Manifest
from htmdsep.batch.plan import Job, Source, Track
from htmdsep.batch.resume import ResumeRules
from htmdsep.errors import DiskError, HtmdsepError
from htmdsep.files import remove_abandoned, stored_stream
from htmdsep.options import STANDARD_STREAM, RunOptions, StemName
from htmdsep.separation.separator import Separator
from htmdsep.separation.stems import FileReport, Progress

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
class Task:
    """A job that is to be tried."""

    job: Job
    attempt: int = 1  # counts tries in a row without result, this one included


@dataclass(frozen=True)
class SongResult:
    """A song's stems stand: what was done, and the hashes that prove it later."""

    report: FileReport
    input_sha256: str
    input_stamp: str | None
    outputs: Mapping[StemName, OutputRecord]


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    source: Source
    wall_seconds: float
    result: SongResult | None = None  # of a job that is done
    error: Exception | None = None  # of one that failed; neither for one that was skipped
    reason: str = ""  # why it was skipped, where not for its stems

    @property
    def status(self) -> Literal["done", "skipped", "failed"]:
        """Return how it ended."""
        if self.error is not None:
            return "failed"
        return "skipped" if self.result is None else "done"

    @property
    def report(self) -> FileReport | None:
        """Return what was done with the file."""
        return None if self.result is None else self.result.report


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


def try_task(separator: Separator, task: Task, progress: Progress | None = None) -> Outcome:
    """Separate a task's song, in whatever way that ends; what stops the run is raised."""
    started = time.monotonic()
    result, error = None, None
    try:
        result = separate_job(separator, task.job, progress)
    except StoppedError:
        raise
    except FAILURES as failure:
        error = failure
    return Outcome(task.job.source, time.monotonic() - started, result, error)


def separate_job(separator: Separator, job: Job, progress: Progress | None = None) -> SongResult:
    """Separate a job's source into its targets, all of them or none.

    Raises HtmdsepError where the source cannot be read or changes meanwhile, and where a target
    cannot be written; whatever the progress function raises ends the work, too.
    """
    with ExitStack() as stack:
        before = _stamp(job.source.name)
        with reading():
            path = stack.enter_context(_as_file(job.source.name))
            digest = storage.hash_content(str(path))
        hashes: dict[StemName, str] = {}

        def check(written: Mapping[StemName, Path]) -> None:
            if _stamp(job.source.name) not in (before, None):
                raise HtmdsepError("it was changed while it was read; separate it again")
            for stem, file in written.items():
                hashes[stem] = storage.hash_content(str(file))

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
    return SongResult(report, digest, before, outputs)


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
    return None if name == STANDARD_STREAM or _is_pipe(name) else storage.stamp(name)


def _is_pipe(name: str) -> bool:
    return not storage.is_url(name) and Path(name).is_fifo()


@contextmanager
def _as_file(name: str) -> Iterator[Path]:
    """Yield a path that can be sought: standard input, named pipes and URLs are stored first."""
    if name != STANDARD_STREAM and not storage.is_url(name) and not _is_pipe(name):
        yield Path(name)
        return
    suffix = Path(name).suffix
    if storage.is_url(name):
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            stored = Path(folder) / f"stored{suffix}"
            storage.fetch(name, stored)
            yield stored
        return
    with ExitStack() as stack:
        if name != STANDARD_STREAM:
            stream: BinaryIO = stack.enter_context(Path(name).open("rb"))
        elif sys.stdin is None:
            raise HtmdsepError("there is no standard input here; name a file")
        else:
            stream = sys.stdin.buffer
        yield stack.enter_context(stored_stream(stream, suffix))


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


def remove_partial_files(job: Job) -> None:
    """Remove what a killed process has left where a job's stems go."""
    if not storage.is_url(job.out):
        for folder in {Path(target).parent for target in job.targets.values()}:
            remove_abandoned(folder)


@dataclass(frozen=True)
class ManifestRecorder:
    """Turns tries into rows; without a manifest nothing is written."""

    manifest: Manifest | None
    rules: ResumeRules

    def started(self, task: Task) -> None:
        """Note that a try begins: where no more is heard of it, the process was killed."""
        self._add(task, "started")

    def interrupted(self, task: Task) -> None:
        """Note that a try was given up for no fault of its own."""
        self._add(task, "interrupted")

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Note how a try ended."""
        seconds, result = round(outcome.wall_seconds, 3), outcome.result
        if result is None:
            error = None if outcome.error is None else error_line(outcome.error)
            counted = task.attempt - (not is_songs_fault(outcome.error))
            self._add(task, "failed", error=error, seconds=seconds, attempt=counted)
            return
        self._add(
            task,
            "done",
            input_sha256=result.input_sha256,
            input_stamp=result.input_stamp,
            outputs=result.outputs,
            seconds=seconds,
            audio_seconds=round(result.report.seconds, 3),
            result=_result(result.report),
        )

    def refresh(self, row: ManifestRow) -> None:
        """Write a row again whose files have other times and the same content."""
        if self.manifest is not None:
            self.manifest.add(row)

    def _add(self, task: Task, status: Status, **known: Any) -> None:
        if self.manifest is None:
            return
        job, name = task.job, task.job.source.name
        if "input_stamp" not in known and name != STANDARD_STREAM:
            known["input_stamp"] = storage.known_stamp(name)
        row = {
            "id": row_id(job.names.values()),
            "time": now(),
            "status": status,
            "input": name if name == STANDARD_STREAM else storage.absolute(name),
            "below": job.source.below,
            "outputs": {stem: OutputRecord(name) for stem, name in job.names.items()},
            "options_sha256": self.rules.options_of(job.source),
            "weights_sha256": self.rules.weights_sha256,
            "attempt": task.attempt,
            "host": platform.node(),
        }
        self.manifest.add(ManifestRow(**{**row, **known}))


def _result(report: FileReport) -> dict[str, Any]:
    """Return what tells which songs are worth a listen."""
    return {
        "sample_rate": report.sample_rate,
        "channels": report.channels,
        "subtype": report.subtype,
        "mixture_peak": report.mixture_peak,
        "levels": {name: {"peak": s.peak, "rms": s.rms} for name, s in report.stems.items()},
        "vocals_share": round(report.vocals_share, 4),
        "clipped_samples": report.clipped_samples,
        "clipped_stem_samples": report.clipped_stem_samples,
        "closure": report.closure,
        "weights": report.weights,
        "notes": report.notes,
    }
