"""Separate many songs: plan, decide, work through the jobs on this machine or a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from htmdsep.batch import storage
from htmdsep.batch.manifest_file import has_manifest, open_manifest
from htmdsep.batch.plan import Job, Plan, plan_jobs
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.resume import IN_WORK, decide_all
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.batch.sources import find_sources, parse_shard, read_list, take_shard
from htmdsep.errors import HtmdsepError
from htmdsep.files import claimed, remove_abandoned
from htmdsep.options import BatchOptions, RunOptions
from htmdsep.separation.report import Progress
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import find_weights

# Between looks for signals, which the system may hand to a thread that does not wake this one
POLL_SECONDS = 0.5

# Separates a job's song, or returns None where its worker died; raises StoppedError once the event
# says that the run ends. Every thread makes one, before it takes a job; it comes with their number:
# 0 for this thread alone, which a signal can interrupt anywhere.
TryJob = Callable[[Job], Outcome | None]
Begin = Callable[[], TryJob]
Workers = Callable[[threading.Event], AbstractContextManager[tuple[Begin, int]]]


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
        workers: Workers = partial(workers_here, separator, progress.song, at_once)
    else:
        from htmdsep.batch.ray import ray_workers

        located = find_weights(weights)
        weights_sha256 = located.hash()
        workers = partial(ray_workers, located, options, batch, len(plan))
    return _outcomes(plan, workers, ManifestRecorder(None, batch, options.sha256(), weights_sha256))


def _outcomes(
    plan: Plan, workers: Workers, recorder: ManifestRecorder
) -> Generator[Outcome, None, None]:
    batch = recorder.batch
    with ExitStack() as stack:
        if _keeps_manifest(batch, plan):
            shard = parse_shard(batch.shard) if batch.shard else None
            manifest = stack.enter_context(open_manifest(plan.out, shard))
            recorder = replace(recorder, manifest=manifest)
        items = stack.enter_context(closing(decide_all(plan, recorder)))
        yield from work(workers, _tidied(items), recorder)


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


def work(
    workers: Workers, items: Iterator[Job | Outcome], recorder: ManifestRecorder
) -> Iterator[Outcome]:
    """Yield the outcome of every job as it ends, and outcomes as they come.

    Workers, which may take seconds to start, do so at the first job. No more jobs are taken than
    can begin, so that there may be any number of them.
    """
    for item in items:
        if isinstance(item, Job):
            break
        yield item
    else:
        return
    items, stop = chain([item], items), threading.Event()
    with workers(stop) as (begin, threads):
        if threads:
            yield from _in_threads(begin, threads, items, recorder, stop)
        else:
            try_once = begin()
            for one in items:
                yield one if isinstance(one, Outcome) else work_on(try_once, recorder, one)


def _in_threads(
    begin: Begin,
    count: int,
    items: Iterator[Job | Outcome],
    recorder: ManifestRecorder,
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Yield as `work` does; threads do the jobs."""
    own = threading.local()

    def start() -> None:
        own.try_once = begin()

    def separate(job: Job) -> Outcome:
        return work_on(own.try_once, recorder, job)

    pool = ThreadPoolExecutor(count, initializer=start)
    running: set[Future[Outcome]] = set()
    try:
        while True:
            while len(running) < count and (taken := next(items, None)):
                if isinstance(taken, Outcome):
                    yield taken
                else:
                    running.add(pool.submit(separate, taken))
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


def work_on(try_once: TryJob, recorder: ManifestRecorder, job: Job) -> Outcome:
    """Separate a job's song; with "resume" only if no other run has begun it meanwhile."""
    is_shared = recorder.batch.existing == "resume" and not storage.is_url(job.out)
    with claimed(Path(min(job.targets.values()))) if is_shared else nullcontext(True) as is_mine:
        if is_mine:
            return _try_on(try_once, recorder, job)
        return Outcome(job.source, reason=IN_WORK)


def _try_on(try_once: TryJob, recorder: ManifestRecorder, job: Job) -> Outcome:
    """Separate a job's song, again where its worker dies; note every try."""
    while True:
        recorder.note(job, "started")
        try:
            outcome = try_once(job)
        except (StoppedError, SystemExit, KeyboardInterrupt):
            recorder.note(job, "interrupted")
            raise
        if outcome is None:
            for folder in job.folders:
                remove_abandoned(folder)
            if job.attempt <= recorder.batch.retries:
                job = replace(job, attempt=job.attempt + 1)
                continue
            error = f"its worker died {job.attempt} times; see Ray's logs (out of memory? fewer "
            error += "--jobs or more --actor-cpus make room)"
            outcome = Outcome(job.source, error=HtmdsepError(error))
        recorder.ended(job, outcome)
        return outcome


@contextmanager
def workers_here(
    separator: Separator,
    song: Callable[[str], AbstractContextManager[Progress]],
    at_once: int,
    stop: threading.Event,
) -> Iterator[tuple[Begin, int]]:
    """Yield what separates songs here; those `at_once` share the network and the processor."""

    def try_once(job: Job) -> Outcome:
        with song(job.source.label) as show:

            def progress(seconds: float, total_seconds: float | None) -> None:
                if stop.is_set():
                    raise StoppedError("interrupted")
                show(seconds, total_seconds)

            return try_job(separator, job, progress)

    yield lambda: try_once, at_once if at_once > 1 else 0
