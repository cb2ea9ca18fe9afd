"""Look ahead at which songs of a large batch stand already, on all cores, before their turn."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import dataclass, replace

from htmdsep.batch import Plan, Source
from htmdsep.fleet import places
from htmdsep.fleet.manifest import Index, row_id
from htmdsep.fleet.standing import Terms, proof_of


@dataclass(frozen=True)
class Pace:
    """How the looking ahead is shared out."""

    workers: int
    part: int  # songs that are looked at in one piece
    fewest: int  # songs from which on it is worth while


# Looking at local files is work, for processes; starting these takes about as long as 20 000 songs.
LOCAL = Pace(workers=min(8, os.cpu_count() or 1), part=2000, fewest=20_000)
# The answers of stores are waited for, by threads.
STORE = Pace(workers=16, part=16, fewest=32)
AHEAD = 2  # parts for each worker that are looked at before they are asked for


def survey(plan: Plan, index: Index | None, terms: Terms) -> Iterator[tuple[Source, bool]]:
    """Yield every source of a plan, and whether it is certain that nothing is to be done for it.

    Where that is not certain, `judge` decides when the song's turn comes.
    """
    pace = _pace(plan)
    if not _pays(pace, plan, index, terms):
        for source in plan.sources:
            yield source, False
        return
    executor = _executor(pace)
    waiting: deque[tuple[Sequence[Source], Future[array[int]] | None]] = deque()
    try:
        for first in range(0, len(plan), pace.part):
            sources = plan.sources[first : first + pace.part]
            waiting.append((sources, _start(executor, replace(plan, sources=sources), terms)))
            if len(waiting) == pace.workers * AHEAD:
                yield from _settled(*waiting.popleft(), index)
        while waiting:
            yield from _settled(*waiting.popleft(), index)
    finally:
        executor.shutdown(cancel_futures=True)


def look(plan: Plan, terms: Terms) -> array[int]:
    """Return for every song its id, and what is there now: its proof (0: something is missing).

    With "skip" 1 stands for any proof.
    """
    found = array("Q")
    for job in plan:
        if terms.existing == "skip":
            found.extend((0, all(map(places.exists, job.targets.values()))))
        else:
            found.extend((int(row_id(job.names.values()), 16), proof_of(job, terms) or 0))
    return found


def _start(executor: Executor, part: Plan, terms: Terms) -> Future[array[int]] | None:
    """Have a part looked at; None where a process was killed, which ends them all."""
    try:
        return executor.submit(look, part, terms)
    except BrokenExecutor:
        return None


def _settled(
    sources: Sequence[Source], looked: Future[array[int]] | None, index: Index | None
) -> Iterator[tuple[Source, bool]]:
    try:
        numbers = looked.result() if looked is not None else None
    except BrokenExecutor:
        numbers = None
    if numbers is None:
        numbers = array("Q", bytes(16 * len(sources)))  # nothing is known
    for source, identity, found in zip(sources, numbers[::2], numbers[1::2], strict=True):
        known = 1 if index is None else index.proof(identity)
        yield source, found == known and source.problem is None


def _pays(pace: Pace, plan: Plan, index: Index | None, terms: Terms) -> bool:
    if terms.existing == "skip":
        return len(plan) >= pace.fewest
    if terms.existing != "resume" or terms.verify or index is None:
        return False
    return min(len(plan), len(index)) >= pace.fewest


def _pace(plan: Plan) -> Pace:
    remote = places.is_url(plan.out) or any(places.is_url(s.name) for s in plan.sources[:1])
    return STORE if remote else LOCAL


def _executor(pace: Pace) -> Executor:
    if pace is STORE:
        return ThreadPoolExecutor(pace.workers)
    # Not forked, as PyTorch may have threads by now.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(pace.workers, context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let signals be the parent's business, and leave no process behind if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
