"""Work through the songs, each in a process of its own.

So memory is given back after every song, and whatever ends a process ends that song alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import pandas as pd

from htmdsep.datasets.folders import Song
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.options import Setting
from htmdsep.evaluation.results import ResultsFolder
from htmdsep.evaluation.scores import score_segments, score_v4
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import System


@dataclass(frozen=True)
class EvaluationTask:
    """A song and what is to be evaluated on it."""

    song: Song
    systems: tuple[System, ...]  # those that lack scores
    settings: tuple[Setting, ...]
    segment_seconds: float
    results: ResultsFolder
    threads: int | None = None  # of the processor, for the networks


def run_tasks(
    tasks: Sequence[EvaluationTask], at_once: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Evaluate songs, `at_once` together; yield the title of each with a line for every failure."""
    context = multiprocessing.get_context("spawn")
    waiting = list(tasks)[::-1]
    running: dict[Connection, tuple[SpawnProcess, EvaluationTask]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                task = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, sender))
                process.start()
                sender.close()
                running[receiver] = process, task
            ready = set(wait(list(running)))
            for receiver in [one for one in running if one in ready]:
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
    if task.threads is not None:
        import torch

        torch.set_num_threads(task.threads)
        os.environ["OMP_NUM_THREADS"] = str(task.threads)  # which a Separator heeds
    sender.send(evaluate_song(task))
    sender.close()


def evaluate_song(task: EvaluationTask) -> tuple[str, ...]:
    """Score every system of a task on its song, and store the scores; return what failed."""
    try:
        native = read_song(task.song)
    except HtmdsepError as error:
        return (str(error),)
    signals: dict[Setting, Signals] = {"native": native}
    if "mono" in task.settings:
        signals["mono"] = native.mono()
    failures = []
    for system in task.systems:
        try:
            scores = pd.concat(_scores(task, system, signals), ignore_index=True)
        except HtmdsepError as error:
            failures.append(f"{system.label}: {error}")
        else:
            task.results.write(system.label, task.song.title, scores)
    return tuple(failures)


def _scores(
    task: EvaluationTask, system: System, signals: dict[Setting, Signals]
) -> Iterator[pd.DataFrame]:
    for setting in task.settings:
        stems = system.estimate(signals[setting], task.song.title)
        yield score_v4(signals[setting], stems, setting)
        if setting == "mono":
            yield score_segments(signals[setting], stems, task.segment_seconds)
