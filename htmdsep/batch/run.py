"""Separate many songs: plan, decide, work through the jobs on this machine or a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from htmdsep.batch import storage
from htmdsep.batch.manifest_file import has_manifest, open_manifest
from htmdsep.batch.plan import Job, Plan, plan_jobs
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.resume import decide_all
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.batch.sources import find_sources, parse_shard, read_list, take_shard
from htmdsep.files import remove_abandoned
from htmdsep.options import BatchOptions, RunOptions
from htmdsep.separation.report import Progress
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import find_weights

# Between looks for signals, which the system may hand to a thread that does not wake this one
POLL_SECONDS = 0.5

# Yields the outcome of every job as it ends, and outcomes as they come.
Work = Callable[[Iterable[Job | Outcome], ManifestRecorder], Iterator[Outcome]]


class BatchProgress:
    """What is told while songs are in work: here, nothing."""

    def planned(self, songs: int) -> None:
        """Take the number of songs, before any work is done."""

    def song(self, label: str) -> AbstractContextManager[Progress]:  # noqa: ARG002
        """Enter a song; what is yielded is called with its seconds done and in all."""
        return nullcontext(lambda _, __: None)


SILENT = BatchProgress()


def run_batch(
    batch: BatchOptions,
    options: RunOptions | None = None,
    weights: str | Path | None = None,
    progress: BatchProgress = SILENT,
) -> Generator[Outcome, None, None]:
    """Separate songs into stem files, and yield how each of them ended.

    Songs are found, their outputs settled and the weights loaded at once; work begins with the
    first outcome that is asked for, and ends early, with nothing half-made, where the generator is
    closed. Nothing is printed. Raises PlanError for what cannot be done whatever the files hold,
    and HtmdsepError where weights, device or cluster cannot be used; what is wrong with one song
    is its outcome's `error`.
    """
    options = options or RunOptions()
    batch = replace(batch, out=storage.settled(batch.out))
    plan = _plan(batch, options, progress)
    if batch.cluster is None:
        separator = Separator(weights, options)
        at_once = min(batch.jobs or 1, max(1, len(plan)))
        weights_sha256 = separator.weights_sha256 or ""
        work: Work = partial(work_here, separator, progress.song, at_once)
    else:
        from htmdsep.batch.ray import work_on_ray

        located = find_weights(weights)
        weights_sha256 = located.hash()
        work = partial(work_on_ray, located, options, len(plan))
    return _outcomes(plan, work, ManifestRecorder(None, batch, options.sha256(), weights_sha256))


def _outcomes(plan: Plan, work: Work, recorder: ManifestRecorder) -> Generator[Outcome, None, None]:
    batch = recorder.batch
    with ExitStack() as stack:
        if _keeps_manifest(batch, plan):
            shard = parse_shard(batch.shard) if batch.shard else None
            manifest = stack.enter_context(open_manifest(plan.out, shard))
            recorder = replace(recorder, manifest=manifest)
        items = stack.enter_context(closing(decide_all(plan, recorder)))
        yield from work(_tidied(items), recorder)


def _tidied(items: Iterable[Job | Outcome]) -> Iterator[Job | Outcome]:
    """Remove, where stems are to be made, what killed runs have left half-made; a folder once."""
    tidy = lru_cache(maxsize=1024)(remove_abandoned)
    for item in items:
        if isinstance(item, Job):
            for folder in item.folders:
                tidy(folder)
        yield item


def _plan(batch: BatchOptions, options: RunOptions, progress: BatchProgress) -> Plan:
    """Find the inputs, settle their outputs, and take the shard's part."""
    sources = list(
        find_sources(
            batch.inputs,
            batch.out,
            recursive=batch.recursive,
            base=batch.base,
            listed=read_list(batch.list_file) if batch.list_file is not None else (),
        )
    )
    taken = sources if batch.shard is None else take_shard(sources, parse_shard(batch.shard))
    progress.planned(len(taken))
    return replace(plan_jobs(sources, batch, options.file_format), sources=taken)


def _keeps_manifest(batch: BatchOptions, plan: Plan) -> bool:
    """Tell whether this is a batch: all but one named file, which joins a manifest that is there.

    The first of several songs may be a batch's last, so their number does not decide; and with
    --skip-existing the next call may name another album's song of the same name. Stems beside
    their song are told from songs by it.
    """
    if batch.always_manifest or batch.list_file or batch.shard:
        return True
    if len(batch.inputs) != 1 or len(plan) != 1:
        return True
    song = storage.absolute(plan.sources[0].name)
    if song != storage.absolute(storage.tidied(batch.inputs[0])):
        return True  # a folder, a pattern or a playlist, which holds one song today
    folder = storage.resolved(storage.parent(song))
    is_beside = storage.is_below(f"{folder}/", storage.resolved(plan.out))
    return is_beside or batch.existing in ("skip", "resume") or has_manifest(plan.out)


def work_here(
    separator: Separator,
    song: Callable[[str], AbstractContextManager[Progress]],
    at_once: int,
    items: Iterable[Job | Outcome],
    recorder: ManifestRecorder,
) -> Iterator[Outcome]:
    """Yield the outcome of every job as it ends, and outcomes as they come.

    Songs `at_once` share the network and the processor. No more jobs are taken than can begin, so
    that there may be any number of them.
    """
    stop = threading.Event()
    work_on = partial(_work_on, separator, song, recorder, stop)
    if at_once == 1:
        for item in items:
            yield item if isinstance(item, Outcome) else work_on(item)
        return
    pool = ThreadPoolExecutor(at_once)
    waiting = iter(items)
    running: set[Future[Outcome]] = set()
    try:
        while True:
            while len(running) < at_once and (taken := next(waiting, None)):
                if isinstance(taken, Outcome):
                    yield taken
                else:
                    running.add(pool.submit(work_on, taken))
            if not running:
                return
            ended, running = wait(running, POLL_SECONDS, FIRST_COMPLETED)
            for future in ended:
                yield future.result()
    finally:
        # Where a signal interrupts, at whatever point: what is waiting never starts, what is
        # running ends at its next block and removes its files.
        stop.set()
        pool.shutdown(cancel_futures=True)


def _work_on(
    separator: Separator,
    song: Callable[[str], AbstractContextManager[Progress]],
    recorder: ManifestRecorder,
    stop: threading.Event,
    job: Job,
) -> Outcome:
    recorder.started(job)
    try:
        with song(job.source.label) as show:

            def progress(seconds: float, total_seconds: float | None) -> None:
                if stop.is_set():
                    raise StoppedError("interrupted")
                show(seconds, total_seconds)

            outcome = try_job(separator, job, progress)
    except (StoppedError, SystemExit, KeyboardInterrupt):
        recorder.interrupted(job)
        raise
    recorder.ended(job, outcome)
    return outcome
