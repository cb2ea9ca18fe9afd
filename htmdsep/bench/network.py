"""Time the network alone: eager and by each engine, by precision and segment length, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from htmdsep.engines.choice import thread_count
from htmdsep.engines.estimators import load_run
from htmdsep.engines.spectral import Run
from htmdsep.networks.build import Network
from htmdsep.networks.cost import time_in_turn
from htmdsep.options import EngineName, Precision, RunOptions
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import load_weights

Runner = EngineName | Literal["eager"]
# Of audio that a thread is given at once: short segments follow one another without waiting for
# other threads, as in a song.
LEAST_AUDIO_SECONDS = 6.0


@dataclass(frozen=True)
class Timing:
    """A network's speed in one way of running it."""

    engine: Runner
    precision: Precision
    segment_seconds: float
    row_seconds: float  # median wall time, divided by the rows done in it
    times_real_time: float  # seconds of audio per second


def time_networks(
    located: WeightsFile, segment_seconds: Sequence[float], cases: Sequence[RunOptions], runs: int
) -> list[Timing]:
    """Time a network in plain PyTorch and in other ways, `runs` times each, in turn; on the CPU."""
    network, info = load_weights(located.path)
    config, threads, multiple = info.config, thread_count(), info.config.length_multiple
    loaded = [(one, load_run(located, config, one)) for one in cases if one.engine != "torch"]
    wanted = (round(seconds * config.sample_rate / multiple) for seconds in segment_seconds)
    ways: list[tuple[Runner, Precision, Tensor]] = []
    calls: list[Callable[[], object]] = []
    with ThreadPoolExecutor(threads) as pool:
        for length in sorted({max(1, count) * multiple for count in wanted}):
            each = ceil(LEAST_AUDIO_SECONDS * config.sample_rate / length)
            rows = 0.1 * torch.randn(each * max(2, threads), config.input_channels, length)
            ways.append(("eager", "fp32", rows))
            calls.append(partial(_run_eagerly, network, rows))
            for case, run in loaded:
                ways.append((case.engine, case.precision, rows))
                calls.append(partial(_run_in_threads, pool, run, rows))
        taken = time_in_turn(calls, runs)
    timings = []
    for (engine, precision, rows), seconds in zip(ways, taken, strict=True):
        audio_seconds = rows.shape[-1] / config.sample_rate
        each_row = median(seconds) / len(rows)
        speed = audio_seconds / each_row
        timings.append(Timing(engine, precision, audio_seconds, each_row, speed))
    return timings


def _run_in_threads(pool: Executor, run: Run, rows: Tensor) -> None:
    """Run (segments, channels, time) through an engine, as a song's segments."""
    list(pool.map(run, rows.numpy()[:, None]))


@torch.inference_mode()
def _run_eagerly(network: Network, rows: Tensor) -> None:
    for pair in torch.split(rows, 2):  # two at once are the fastest
        network(pair)
