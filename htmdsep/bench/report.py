"""Measure what the benchmark's command asks for, and lay it out."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import torch

from htmdsep.audio.reader import open_audio
from htmdsep.bench.network import EAGER, Runner, Timing, time_networks
from htmdsep.bench.options import BenchOptions
from htmdsep.bench.program import CommandTime, own_command, time_commands, write_song
from htmdsep.dsp.overlap_add import hop_for
from htmdsep.engines.choice import thread_count
from htmdsep.engines.estimators import settle
from htmdsep.networks.config import NetworkConfig
from htmdsep.options import DEFAULT_OVERLAP, Precision
from htmdsep.weights.catalogue import find_weights


@dataclass(frozen=True)
class TimedSong:
    """What the whole program works on, and how long the network alone takes for it."""

    seconds: float
    channels: int
    network_seconds: dict[str, float]  # by command


@dataclass(frozen=True)
class Findings:
    """What was measured; parts that were not asked for are empty."""

    machine: str
    peaks: dict[Precision, float]  # GFLOP/s of a matrix product
    timings: list[Timing]
    song: TimedSong
    programs: dict[str, CommandTime]  # by command


def run_benchmark(options: BenchOptions) -> Findings:
    """Measure what is asked for; raise HtmdsepError for unknown weights and commands that fail."""
    located = find_weights(options.weights or options.name)
    network, _ = located.load()
    settled = [settle(located, network.config, case) for case in options.cases()]
    cases = list(dict.fromkeys(settled))  # "auto" may stand for another
    trained = network.config.segment_length / network.config.sample_rate
    segments = [trained] if options.only == "program" else [*options.segments, trained]
    weights = ["--weights", str(located.path.resolve())] if options.weights or options.name else []
    commands = {_shown(case.precision, case.engine): own_command(case, weights) for case in cases}
    commands |= options.commands()
    programs = {}
    with tempfile.TemporaryDirectory(prefix="htmdsep-bench-") as name:
        folder = Path(name)  # the commands run in it
        path = (options.song or write_song(folder, options.seconds)).resolve()
        with open_audio(path) as reader:
            frames = sum(map(len, reader.blocks()))
            seconds, channels = frames / reader.header.sample_rate, reader.header.channels
        timings, peaks = time_networks(network, located, segments, cases, options.runs)
        if options.only != "network":
            places = {"{song}": str(path), "{out}": str(folder / "vs")}
            programs = time_commands(commands, places, options.runs, folder)
    machine, threads = platform.processor() or platform.machine(), thread_count()
    versions = f"NumPy {np.__version__}, PyTorch {torch.__version__}"
    return Findings(
        machine=f"{machine}, {threads} thread{'s' * (threads > 1)}, {versions}",
        peaks=peaks,
        timings=[] if options.only == "program" else timings,
        song=TimedSong(seconds, channels, _alone(seconds, channels, network.config, timings)),
        programs=programs,
    )


def _alone(
    seconds: float, channels: int, config: NetworkConfig, timings: Sequence[Timing]
) -> dict[str, float]:
    """Return how long the network alone takes for a song, by its speed at the trained length."""
    hop = hop_for(config.segment_length, DEFAULT_OVERLAP)
    beyond = round(seconds * config.sample_rate) - config.segment_length
    rows = (1 + max(0, -(-beyond // hop))) * -(-channels // config.input_channels)
    trained = config.segment_length / config.sample_rate
    return {
        _shown(one.precision, one.engine): rows * one.row_seconds
        for one in timings
        if one.segment_seconds == trained
    }


def _shown(precision: Precision, engine: Runner) -> str:
    """Return how a command of our own is shown; PyTorch's is that of the eager network."""
    engine = "torch" if engine == EAGER else engine
    return f"htmdsep --precision {precision} --engine {engine}"


def show(findings: Findings) -> str:
    """Return the findings as text for people."""
    peaks = (f"matrix product, {one}: {peak:.0f} GFLOP/s" for one, peak in findings.peaks.items())
    return "\n".join([findings.machine, *peaks, *_networks(findings), *_programs(findings)])


def _networks(findings: Findings) -> Iterator[str]:
    eager = [one.times_real_time for one in findings.timings if one.engine == EAGER]
    if not eager:
        return
    yield ""
    columns = f"{'segment':>9}{'x real time':>13}{'x best eager':>14}{'of peak':>9}"
    yield f"{'network alone':<16}{columns}"
    for one in sorted(findings.timings, key=lambda one: (one.engine, one.precision)):
        yield (
            f"{one.engine + ' ' + one.precision:<16}{one.segment_seconds:>7.2f} s"
            f"{one.times_real_time:>13.1f}{one.times_real_time / max(eager):>14.2f}"
            f"{one.gflops / findings.peaks[one.precision]:>9.0%}"
        )


def _programs(findings: Findings) -> Iterator[str]:
    song = findings.song
    if not findings.programs:
        return
    yield ""
    yield f"whole program, {song.seconds:.0f} s, {song.channels} channels"
    yield f"{'wall':>9}{'x real time':>13}{'processor':>11}{'peak MB':>9}{'in network':>12}"
    for name, one in findings.programs.items():
        peak = "?" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}"
        alone = song.network_seconds.get(name)
        share = "" if alone is None else f"{alone / one.wall_seconds:.0%}"
        yield (
            f"{one.wall_seconds:>7.2f} s{song.seconds / one.wall_seconds:>13.1f}"
            f"{one.cpu_seconds or nan:>9.1f} s{peak:>9}{share:>12}  {name}"
        )
