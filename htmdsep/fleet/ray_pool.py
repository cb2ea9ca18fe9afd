"""Work through the jobs on a Ray cluster, or on this machine's cores with Ray started here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from htmdsep.batch import Job
from htmdsep.errors import HtmdsepError
from htmdsep.fleet import places
from htmdsep.fleet.outcome import Outcome, Task
from htmdsep.fleet.ray_cluster import Pool, connected, last_line, room
from htmdsep.fleet.ray_worker import Setup, Worker
from htmdsep.fleet.scribe import Scribe
from htmdsep.fleet.work import remove_leavings

POLL_SECONDS = 0.5  # between looks for signals while nothing ends
STOP_SECONDS = 20.0  # how long songs in work are waited for after an interruption


class _Workers:
    """The actors: which are free, and what the others do."""

    def __init__(self, ray: Any, weights: bytes, setup: Setup, pool: Pool, count: int) -> None:
        self._ray = ray
        actor = ray.remote(Worker).options(
            num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=-1, max_concurrency=2
        )
        self._weights = ray.put(weights)  # kept there as long as this is kept here
        self._setup = setup
        # Calls in flight: to their actor, and to the task, None where the network is loaded.
        self.calls: dict[Any, tuple[Any, Task | None]] = {}
        self.free: deque[Any] = deque()
        for _ in range(count):
            self._load(actor.remote())

    def _load(self, actor: Any) -> None:
        """Use an actor once it has its network; the call is repeated where it is restarted."""
        loading = actor.load.options(max_task_retries=-1)
        self.calls[loading.remote(self._weights, self._setup)] = (actor, None)

    def give(self, task: Task) -> None:
        """Let a free actor work on a task. Each has one, so that a death is that task's."""
        actor = self.free.popleft()
        self.calls[actor.separate.remote(_portable(task))] = (actor, task)

    def take(self, timeout: float) -> Iterator[tuple[Task, Outcome | None]]:
        """Wait for calls to end; yield tasks with their outcome, None after a worker's death."""
        ended, _ = self._ray.wait(list(self.calls), timeout=timeout)
        for reference in ended:
            actor, task = self.calls.pop(reference)
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                if task is None:
                    raise HtmdsepError(f"a Ray worker cannot start: {last_line(error)}") from error
                self._load(actor)
                yield task, None
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise HtmdsepError(f"a Ray worker failed: {last_line(error)}") from error
            self.free.append(actor)
            if task is not None:
                yield task, None if result is None else replace(result, job=task.job)

    def busy(self) -> list[Task]:
        """Return the tasks in work."""
        return [task for _, task in self.calls.values() if task is not None]


def run_on_ray(
    tasks: Iterable[Task], weights: Path, setup: Setup, pool: Pool, scribe: Scribe
) -> Iterator[Outcome]:
    """Yield the outcome of every task, as it ends; as many are in flight as there are workers.

    A task whose worker dies is tried again, at most `retries` times. Where the run ends early,
    songs in work are stopped and their files removed. Raises HtmdsepError where Ray is not
    installed or cannot be reached, or its workers cannot start.
    """
    waiting = iter(tasks)
    first = next(waiting, None)
    if first is None:
        return  # before Ray takes seconds to start
    with connected(pool) as (ray, heed_signals):
        count = min(pool.workers or room(ray, pool), pool.most)
        workers = _Workers(ray, weights.read_bytes(), setup, pool, count)
        again = deque([first])
        try:
            while True:
                heed_signals()
                _hand_out(workers, again, waiting, scribe.started)
                if not workers.busy() and workers.free:
                    return
                for task, outcome in workers.take(POLL_SECONDS):
                    if outcome is None and task.attempt <= pool.retries:
                        remove_leavings(task.job)
                        again.append(replace(task, attempt=task.attempt + 1))
                        continue
                    outcome = outcome or _dead(task)
                    scribe.ended(task, outcome)
                    yield outcome
        finally:
            _stop(workers, scribe)


def _hand_out(
    workers: _Workers,
    again: deque[Task],
    waiting: Iterator[Task],
    started: Callable[[Task], None],
) -> None:
    while workers.free:
        task = again.popleft() if again else next(waiting, None)
        if task is None:
            return
        started(task)
        workers.give(task)


def _dead(task: Task) -> Outcome:
    error = HtmdsepError(
        f"its worker died {task.attempt} times; see Ray's logs (out of memory? fewer --jobs or "
        "more --actor-cpus make room)"
    )
    remove_leavings(task.job)
    return Outcome(task.job, 0.0, error=error)


def _stop(workers: _Workers, scribe: Scribe) -> None:
    """Stop what is in work, and note what was stopped; what ended in time counts as done."""
    if not workers.busy():
        return
    for actor, task in list(workers.calls.values()):
        if task is not None:
            actor.stop.remote()
    deadline = time.monotonic() + STOP_SECONDS
    while workers.busy() and time.monotonic() < deadline:
        for task, outcome in workers.take(timeout=1.0):
            if outcome is None:
                scribe.interrupted(task)
            else:
                scribe.ended(task, outcome)
    for task in workers.busy():
        scribe.interrupted(task)


def _portable(task: Task) -> Task:
    """Return a task that means the same in another process's folder."""
    job, source = task.job, task.job.source
    moved = source._replace(name=places.absolute(source.name))
    return replace(task, job=Job(moved, places.absolute(job.out), job.names))
