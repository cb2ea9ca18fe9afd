"""Time a network in several engines and precisions, in a process that has nothing else to do.

There, runtimes that end badly, or that processes forked later could not use, do no harm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path

import numpy as np

from htmdsep.engines.estimators import load_run
from htmdsep.engines.spectral import Run
from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import NetworkConfig
from htmdsep.options import RunOptions
from htmdsep.weights.catalogue import WeightsFile
from htmdsep.weights.file import read_info

ROUNDS = 3
# Windows counts processor time in steps of 16 ms
_clock = time.perf_counter if sys.platform == "win32" else time.process_time


def time_loads(
    loads: dict[str, Callable[[], Run]], config: NetworkConfig
) -> dict[str, tuple[float, float]]:
    """Return what each way of loading a network takes to its first result, and for a segment.

    Seconds of processor time, which other programs hardly change; of a segment the least of rounds
    in which all take their turn. A way whose runtime fails is left out.
    """
    shape = (1, config.input_channels, config.segment_length)
    segment = 0.1 * np.random.default_rng(0).standard_normal(shape, np.float32)
    starts: dict[str, float] = {}
    runs: dict[str, Run] = {}
    for name, load in loads.items():
        started = _clock()
        # Whatever an engine makes of a graph; all that OpenVINO raises is a RuntimeError
        with suppress(HtmdsepError, ImportError, RuntimeError):
            run = load()
            run(segment)
            starts[name], runs[name] = _clock() - started, run
    best = dict.fromkeys(runs, inf)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = _clock()
            run(segment)
            best[name] = min(best[name], _clock() - started)
    return {name: (starts[name], best[name]) for name in runs}


def main() -> None:
    """Time what standard input asks for, and print the seconds, both as JSON."""
    asked = json.load(sys.stdin)
    located = WeightsFile(asked["name"], Path(asked["path"]), asked["sha256"])
    config = read_info(located.path).config
    loads: dict[str, Callable[[], Run]] = {}
    for name, way in asked["choices"].items():
        options = RunOptions(device="cpu", threads=1, **way)
        loads[name] = partial(load_run, located, config, options)
    print(json.dumps(time_loads(loads, config)), flush=True)
    os._exit(0)  # without the runtimes' own end, which may crash
