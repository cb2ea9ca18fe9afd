"""Work through the jobs of a batch in this process, one by one or in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from functools import partial

from htmdsep.batch.plan import Job
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.song import Outcome, StoppedError, try_job
from htmdsep.separation.separator import Separator
from htmdsep.separation.stems import Progress

# Between looks for signals, which the system may hand to a thread that does not wake this one
POLL_SECONDS = 0.5


def work_here(
    separator: Separator,
    song: Callable[[str], AbstractContextManager[Progress]],
    at_once: int,
    items: Iterable[Job | Outcome],
    recorder: ManifestRecorder,
) -> Iterator[Outcome]:
    """Yield the outcome of every job as it ends, and outcomes as they come.

    Songs `at_once` share the network and the processor; `song` is entered for each by its label.
    """
    stop = threading.Event()
    work_on = partial(_work_on, separator, song, recorder, stop)
    if at_once > 1:
        yield from in_threads(work_on, at_once, items, stop)
        return
    for item in items:  # in this thread, which a signal can interrupt at whatever point
        yield item if isinstance(item, Outcome) else work_on(item)


def in_threads(
    work_on: Callable[[Job], Outcome],
    at_once: int,
    items: Iterable[Job | Outcome],
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Yield the outcome of every job as it ends, and outcomes as they come.

    No more jobs are taken than can begin, so that there may be any number of them. Where the run
    ends early, `stop` is set, and what has begun is waited for.
    """
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
