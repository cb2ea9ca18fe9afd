"""Separate many songs: plan, decide, work through the tasks on this machine or a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from htmdsep.batch import storage
from htmdsep.batch.manifest_file import Manifest, has_manifest, open_manifest
from htmdsep.batch.plan import Plan, plan_jobs
from htmdsep.batch.resume import ResumeRules, decide_all
from htmdsep.batch.song import ManifestRecorder, Outcome, StoppedError, Task, try_task
from htmdsep.batch.sources import find_sources, parse_shard, read_list, take_shard
from htmdsep.errors import HtmdsepError
from htmdsep.files import remove_abandoned
from htmdsep.options import BatchOptions, RunOptions
from htmdsep.separation.separator import Separator
from htmdsep.separation.stems import Progress

# Between looks for signals, which the system may hand to a thread that does not wake this one
POLL_SECONDS = 0.5


class BatchProgress(Protocol):
    """What is told while songs are in work."""

    def planned(self, songs: int) -> None:
        """Take the number of songs, before any work is done."""

    def song(self, label: str) -> AbstractContextManager[Progress]:
        """Enter a song; what is yielded is called with its seconds done and in all."""


class _Silent:
    def planned(self, songs: int) -> None:
        pass

    def song(self, label: str) -> AbstractContextManager[Progress]:  # noqa: ARG002
        return nullcontext(lambda _, __: None)


SILENT = _Silent()


class SongRunner(Protocol):
    """What works through the tasks."""

    @property
    def weights_sha256(self) -> str: ...

    def run(self, items: Iterable[Task | Outcome], recorder: ManifestRecorder) -> Iterator[Outcome]:
        """Yield the outcome of every task as it ends, and outcomes as they come."""


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
    runner = _runner(batch, options, weights, progress, len(plan))
    rules = ResumeRules(
        batch.existing, options.sha256(), runner.weights_sha256, batch.retries, batch.verify
    )
    return _outcomes(batch, plan, runner, rules)


def _outcomes(
    batch: BatchOptions, plan: Plan, runner: SongRunner, rules: ResumeRules
) -> Generator[Outcome, None, None]:
    with ExitStack() as stack:
        manifest = None
        if _keeps_manifest(batch, plan):
            shard = parse_shard(batch.shard) if batch.shard else None
            manifest = stack.enter_context(open_manifest(plan.out, shard))
        recorder = ManifestRecorder(manifest, rules)
        yield from runner.run(_items(plan, manifest, recorder), recorder)


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
    stems = batch.called_stems()
    plan = plan_jobs(sources, batch.out, batch.filename, stems, options.file_format)
    return replace(plan, sources=taken)


def _keeps_manifest(batch: BatchOptions, plan: Plan) -> bool:
    """Tell whether this is a batch: all but one named file, which joins a manifest that is there.

    The first of several songs may be a batch's last, so their number does not decide; and with
    --skip-existing the next call may name another album's song of the same name. Stems beside
    their song are told from songs by it.
    """
    named = batch.list_file is None and batch.shard is None and len(batch.inputs) == 1
    if (
        batch.always_manifest
        or not named
        or len(plan) != 1
        or plan.sources[0].name != batch.inputs[0]
    ):
        return True
    folder = storage.resolved(storage.parent(storage.absolute(plan.sources[0].name)))
    is_beside = storage.is_below(f"{folder}/", storage.resolved(plan.out))
    return is_beside or batch.existing in ("skip", "resume") or has_manifest(plan.out)


def _items(
    plan: Plan, manifest: Manifest | None, recorder: ManifestRecorder
) -> Iterator[Task | Outcome]:
    """Yield what is to be done, and the outcomes of what is not."""
    tidy = lru_cache(maxsize=1024)(remove_abandoned)  # a folder once
    last_row = manifest.last if manifest is not None else None
    for source, decision in decide_all(plan, last_row, recorder.rules):
        if decision.fresh is not None:
            recorder.refresh(decision.fresh)
        if decision.action == "refuse":
            yield Outcome(source, 0.0, error=HtmdsepError(decision.reason))
        elif decision.action == "skip":
            yield Outcome(source, 0.0, reason=decision.reason)
        else:
            job = replace(plan.job(source), overwrite=recorder.rules.existing != "refuse")
            if not storage.is_url(plan.out):
                for folder in {Path(target).parent for target in job.targets.values()}:
                    tidy(folder)
            yield Task(job, decision.attempt)


def _runner(
    batch: BatchOptions,
    options: RunOptions,
    weights: str | Path | None,
    progress: BatchProgress,
    songs: int,
) -> SongRunner:
    if batch.cluster is None:
        at_once = min(batch.jobs or 1, max(1, songs))
        return LocalRunner(Separator(weights, options), progress.song, at_once)
    from htmdsep.batch.ray import RayRunner

    return RayRunner(weights, options, batch, songs)


class LocalRunner:
    """The network in this process; `at_once` songs share the processor."""

    def __init__(
        self,
        separator: Separator,
        song: Callable[[str], AbstractContextManager[Progress]],
        at_once: int,
    ) -> None:
        self.weights_sha256 = separator.weights_sha256 or ""
        self._separator, self._song, self._at_once = separator, song, at_once

    def run(self, items: Iterable[Task | Outcome], recorder: ManifestRecorder) -> Iterator[Outcome]:
        """Yield the outcome of every task as it ends, and outcomes as they come.

        No more tasks are taken than can begin, so that there may be any number of them.
        """
        stop = threading.Event()
        if self._at_once == 1:
            for item in items:
                yield item if isinstance(item, Outcome) else self._try(item, recorder, stop)
            return
        pool = ThreadPoolExecutor(self._at_once)
        waiting = iter(items)
        running: set[Future[Outcome]] = set()
        try:
            while True:
                while len(running) < self._at_once and (taken := next(waiting, None)):
                    if isinstance(taken, Outcome):
                        yield taken
                    else:
                        running.add(pool.submit(self._try, taken, recorder, stop))
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

    def _try(self, task: Task, recorder: ManifestRecorder, stop: threading.Event) -> Outcome:
        recorder.started(task)
        try:
            with self._song(task.job.source.label) as show:

                def progress(seconds: float, total_seconds: float | None) -> None:
                    if stop.is_set():
                        raise StoppedError("interrupted")
                    show(seconds, total_seconds)

                outcome = try_task(self._separator, task, progress)
        except (StoppedError, SystemExit, KeyboardInterrupt):
            recorder.interrupted(task)
            raise
        recorder.ended(task, outcome)
        return outcome
