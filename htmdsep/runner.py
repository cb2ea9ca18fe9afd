"""Work through the jobs on this machine: every file is tried, and ends as done or failed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from htmdsep.batch.song import ManifestRecorder, Outcome, StoppedError, Task, try_task
from htmdsep.options import FileOptions
from htmdsep.progress import Bars
from htmdsep.separator import Separator


@dataclass(frozen=True)
class Runner:
    """Everything the jobs of a run share."""

    separator: Separator
    options: FileOptions
    recorder: ManifestRecorder
    bars: Bars

    def run(self, tasks: Iterable[Task], at_once: int) -> Iterator[Outcome]:
        """Yield the outcome of every task, as it ends; `at_once` of them share the processor.

        No more tasks are taken than can begin, so that there may be any number of them.
        """
        if at_once == 1:
            for task in tasks:
                yield self._outcome(task, threading.Event())
            return
        stop = threading.Event()
        pool = ThreadPoolExecutor(at_once)
        waiting = iter(tasks)
        running: set[Future[Outcome]] = set()
        try:
            while True:
                free = at_once - len(running)
                running |= {
                    pool.submit(self._outcome, task, stop) for task in islice(waiting, free)
                }
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield future.result()
        finally:
            # Where a signal interrupts, at whatever point: what is waiting never starts, what is
            # running ends at its next block and removes its files.
            stop.set()
            pool.shutdown(cancel_futures=True)

    def _outcome(self, task: Task, stop: threading.Event) -> Outcome:
        self.recorder.started(task)
        try:
            with self.bars.file(task.job.source.label) as show:

                def progress(seconds: float, total_seconds: float | None) -> None:
                    if stop.is_set():
                        raise StoppedError("interrupted")
                    show(seconds, total_seconds)

                outcome = try_task(self.separator, task, self.options, progress)
        except (StoppedError, SystemExit, KeyboardInterrupt):
            self.recorder.interrupted(task)
            raise
        self.recorder.ended(task, outcome)
        return outcome
