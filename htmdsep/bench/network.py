"""Time the network alone: eager and fast, by precision and segment length, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from htmdsep import choice
from htmdsep.catalogue import WeightsFile
from htmdsep.choice import thread_count
from htmdsep.config import NetworkConfig
from htmdsep.estimators import Run, load_run
from htmdsep.model import Network
from htmdsep.options import EngineName, Precision
from htmdsep.torch_batches import DTYPES

Runner = EngineName | Literal["eager"]
EAGER: Runner = "eager"
MATRIX_SIZE = 2_048  # of the product that serves as the yardstick
LEAST_SECONDS = 0.2  # of wall time that one measurement takes
# Of audio that a thread is given at once: short segments follow one another without waiting for
# other threads, as in a song.
LEAST_AUDIO_SECONDS = 6.0


class Way(NamedTuple):
    """A way of running a network on the CPU."""

    precision: Precision
    engine: EngineName


@dataclass(frozen=True)
class Timing:
    """A network's speed in one way of running it."""

    engine: Runner
    precision: Precision
    segment_seconds: float
    row_seconds: float  # median wall time, divided by the rows done in it
    times_real_time: float  # seconds of mono audio per second
    gflops: float  # of the eager network's arithmetic, per second


class Yardstick:
    """Products of large square matrices, measured again and again between other things."""

    def __init__(self, precision: Precision) -> None:
        left, right = torch.rand(2, MATRIX_SIZE, MATRIX_SIZE).to(DTYPES[precision])
        self._run = partial(torch.mm, left, right, out=torch.empty_like(left))
        self._seconds: list[float] = []

    def measure(self) -> None:
        """Take one more measurement."""
        self._seconds.append(_seconds(self._run))

    def gflops(self) -> float:
        """Return the median of the speeds found, in GFLOP/s."""
        return 2 * MATRIX_SIZE**3 / median(self._seconds) / 1e9


def time_networks(
    network: Network,
    located: WeightsFile,
    segment_seconds: Sequence[float],
    ways: Sequence[Way],
    runs: int,
) -> tuple[list[Timing], dict[Precision, float]]:
    """Time a network in plain PyTorch and in other ways, `runs` times each, in turn; on the CPU.

    Returns with the timings, by precision, the GFLOP/s of matrix products, which are measured
    before every timing: a shared machine is not as fast in one minute as in the next.
    """
    threads = thread_count()
    pool = ThreadPoolExecutor(threads)
    cases: list[tuple[Runner, Precision, Tensor, Callable[[], None]]] = []
    for length in sorted({_length(network.config, seconds) for seconds in segment_seconds}):
        each = ceil(LEAST_AUDIO_SECONDS * network.config.sample_rate / length)
        rows = 0.1 * torch.randn(each * max(2, threads), network.config.input_channels, length)
        cases.append((EAGER, "fp32", rows, partial(_eager, network, rows)))
        for way in ways:
            if way.engine == "torch":
                cases.append(("torch", way.precision, rows, partial(_eager, network, rows)))
                continue
            settled_way = choice.Way("cpu", way.precision, way.engine, None, threads)
            runner = load_run(located, network.config, settled_way)
            on_all = partial(_on_all, pool, runner, rows.numpy())
            cases.append((way.engine, way.precision, rows, on_all))
    yardsticks = {precision: Yardstick(precision) for _, precision, _, _ in cases}
    measured: list[list[float]] = [[] for _ in cases]
    for _ in range(runs):
        for (_, precision, rows, run), seconds_found in zip(cases, measured, strict=True):
            yardsticks[precision].measure()
            seconds_found.append(_seconds(run) / len(rows))
    timings = [
        _timing(network, engine, precision, rows.shape[-1], median(seconds_found))
        for (engine, precision, rows, _), seconds_found in zip(cases, measured, strict=True)
    ]
    return timings, {precision: one.gflops() for precision, one in yardsticks.items()}


def _length(config: NetworkConfig, seconds: float) -> int:
    """Return the length in samples that the network can take and that is nearest."""
    multiple = config.length_multiple
    return max(1, round(seconds * config.sample_rate / multiple)) * multiple


@torch.inference_mode()
def _eager(network: Network, rows: Tensor) -> None:
    for pair in torch.split(rows, 2):  # two at once are the fastest
        network(pair)


def settled(ways: Sequence[Way], config: NetworkConfig) -> list[Way]:
    """Return the ways for a network, without repetition, with what "auto" stands for.

    Raises HtmdsepError for engines that are not there.
    """
    found = [choice.resolve(choice.Way("cpu", one.precision, one.engine), config) for one in ways]
    return list(dict.fromkeys(Way(one.precision, one.engine) for one in found))


def _on_all(pool: ThreadPoolExecutor, run: Run, rows: np.ndarray) -> None:
    list(pool.map(run, rows[:, None]))


def _timing(
    network: Network, engine: Runner, precision: Precision, length: int, row_seconds: float
) -> Timing:
    audio_seconds = length / network.config.sample_rate
    return Timing(
        engine,
        precision,
        audio_seconds,
        row_seconds,
        audio_seconds / row_seconds,
        flops(network, length) / row_seconds / 1e9,
    )


@torch.inference_mode()
def flops(network: Network, length: int) -> int:
    """Return the operations of the eager network's convolutions over `length` samples."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, network.config.input_channels, length))
    return int(counter.get_total_flops())


def _seconds(run: Callable[[], object]) -> float:
    """Return the mean wall time of as many runs as fill LEAST_SECONDS, after one to warm up."""
    run()
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < LEAST_SECONDS:
        run()
        count += 1
    return elapsed / count
