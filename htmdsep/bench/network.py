"""Time the network alone: eager and by each engine, by precision and segment length, in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from statistics import median
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from htmdsep.engines.choice import thread_count
from htmdsep.engines.estimators import load_run
from htmdsep.engines.spectral import Run
from htmdsep.engines.torch_batches import DTYPES
from htmdsep.networks.build import Network
from htmdsep.networks.config import NetworkConfig
from htmdsep.networks.cost import multiply_adds, time_in_turn
from htmdsep.options import EngineName, Precision, RunOptions
from htmdsep.weights.catalogue import WeightsFile

Runner = EngineName | Literal["eager"]
EAGER: Runner = "eager"
MATRIX_SIZE = 2_048  # of the product that speeds are compared with
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
    times_real_time: float  # seconds of mono audio per second
    gflops: float  # of the eager network's arithmetic, per second


class _Case(NamedTuple):
    engine: Runner
    precision: Precision
    rows: Tensor  # (segments, channels, time)
    run: Callable[[], object]


def time_networks(
    network: Network,
    located: WeightsFile,
    segment_seconds: Sequence[float],
    cases: Sequence[RunOptions],
    runs: int,
) -> tuple[list[Timing], dict[Precision, float]]:
    """Time a network in plain PyTorch and in other ways, `runs` times each, in turn; on the CPU.

    Returns with the timings, by precision, the GFLOP/s of matrix products, which are measured
    before every timing.
    """
    config, threads = network.config, thread_count()
    ways: list[_Case] = []
    with ThreadPoolExecutor(threads) as pool:
        for length in sorted({_length(config, seconds) for seconds in segment_seconds}):
            each = ceil(LEAST_AUDIO_SECONDS * config.sample_rate / length)
            rows = 0.1 * torch.randn(each * max(2, threads), config.input_channels, length)
            ways.append(_Case(EAGER, "fp32", rows, partial(_run_eagerly, network, rows)))
            for case in cases:
                if case.engine != "torch":  # which is the eager network
                    run = engine_run(pool, load_run(located, config, case), rows)
                    ways.append(_Case(case.engine, case.precision, rows, run))
        products = {way.precision: matrix_product(way.precision) for way in ways}
        in_turn = [run for way in ways for run in (products[way.precision], way.run)]
        taken = time_in_turn(in_turn, runs)
    by_precision: dict[Precision, list[float]] = defaultdict(list)
    for way, seconds in zip(ways, taken[::2], strict=True):
        by_precision[way.precision] += seconds
    flops = 2 * MATRIX_SIZE**3
    peaks = {one: flops / median(seconds) / 1e9 for one, seconds in by_precision.items()}
    rate = 2 * multiply_adds(network)  # operations a second of audio
    return [_timing(*pair, config, rate) for pair in zip(ways, taken[1::2], strict=True)], peaks


def engine_run(pool: Executor, run: Run, rows: Tensor) -> Callable[[], object]:
    """Return what runs (segments, channels, time) through an engine, as a song's segments."""
    batches = rows.numpy()[:, None]
    return lambda: list(pool.map(run, batches))


@torch.inference_mode()
def _run_eagerly(network: Network, rows: Tensor) -> None:
    for pair in torch.split(rows, 2):  # two at once are the fastest
        network(pair)


def matrix_product(precision: Precision) -> Callable[[], object]:
    """Return what multiplies two large square matrices."""
    left, right = torch.rand(2, MATRIX_SIZE, MATRIX_SIZE).to(DTYPES[precision])
    return partial(torch.mm, left, right, out=torch.empty_like(left))


def _length(config: NetworkConfig, seconds: float) -> int:
    """Return the length in samples that the network can take and that is nearest."""
    multiple = config.length_multiple
    return max(1, round(seconds * config.sample_rate / multiple)) * multiple


def _timing(way: _Case, taken: Sequence[float], config: NetworkConfig, rate: float) -> Timing:
    audio_seconds = way.rows.shape[-1] / config.sample_rate
    row_seconds = median(taken) / len(way.rows)
    speed = audio_seconds / row_seconds
    return Timing(way.engine, way.precision, audio_seconds, row_seconds, speed, rate * speed / 1e9)
