"""Work through the songs, each in a process of its own.

So memory is given back after every song, and whatever ends a process ends that song alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import pandas as pd
import torch

from htmdsep.datasets.folders import Song
from htmdsep.engines.choice import thread_count
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.options import EvaluationOptions, Setting
from htmdsep.evaluation.results import ResultsFolder
from htmdsep.evaluation.scores import score_segments, score_v4
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import System


@dataclass(frozen=True)
class EvaluationTask:
    """A song and what is to be evaluated on it."""

    song: Song
    systems: tuple[System, ...]  # those that lack scores
    options: EvaluationOptions


def run_tasks(
    tasks: Iterable[EvaluationTask], at_once: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Evaluate songs, `at_once` together; yield the title of each with a line for every failure."""
    context = multiprocessing.get_context("spawn")
    waiting = deque(tasks)
    running: dict[Connection, tuple[SpawnProcess, EvaluationTask]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task = waiting.popleft()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, sender))
                process.start()
                sender.close()
                running[receiver] = process, task
            for receiver in running.keys() & wait([*running]):
                process, task = running.pop(receiver)
                yield task.song.title, _failures(process, receiver)
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()


def _failures(process: SpawnProcess, receiver: Connection) -> tuple[str, ...]:
    try:
        failures: tuple[str, ...] = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        cause = f"signal {-code}" if code < 0 else f"status {code}"
        failures = (f"its process ended with {cause}",)
    receiver.close()
    return failures


def _work(task: EvaluationTask, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes itself
    if task.options.jobs > 1:
        threads = max(1, thread_count() // task.options.jobs)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # which a Separator heeds
    sender.send(evaluate_song(task))
    sender.close()


def evaluate_song(task: EvaluationTask) -> tuple[str, ...]:
    """Score every system of a task on its song, and store the scores; return what failed."""
    title, options = task.song.title, task.options
    try:
        native = read_song(task.song)
    except HtmdsepError as error:
        return (str(error),)
    signals = {name: native if name == "native" else native.mono() for name in options.settings}
    failures = []
    for system in task.systems:
        try:
            parts = [*_scores(system, title, signals, options.segment_seconds)]
            scores = pd.concat(parts, ignore_index=True)
            ResultsFolder(options.out).write(system.label, title, scores)
        except (HtmdsepError, OSError) as error:
            failures.append(f"{system.label}: {error}")
    return tuple(failures)


def _scores(
    system: System, title: str, signals: Mapping[Setting, Signals], segment_seconds: float
) -> Iterator[pd.DataFrame]:
    for setting, truth in signals.items():
        stems = system.estimate(truth, title)
        yield score_v4(truth, stems, setting)
        if setting == "mono":
            yield score_segments(truth, stems, segment_seconds)
