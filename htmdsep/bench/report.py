"""Measure what the benchmark's command asks for, and lay it out."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from htmdsep.bench.options import BenchOptions
from htmdsep.bench.program import CommandTime, own_command, time_commands, write_song
from htmdsep.dsp.overlap_add import hop_for
from htmdsep.engines.choice import resolve, thread_count
from htmdsep.networks.config import NetworkConfig
from htmdsep.options import DEFAULT_OVERLAP
from htmdsep.weights.catalogue import find_weights
from htmdsep.weights.file import read_info

if TYPE_CHECKING:
    from htmdsep.bench.network import Timing


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
    timings: list[Timing]
    song: TimedSong | None
    programs: dict[str, CommandTime]  # by command


def run_benchmark(options: BenchOptions) -> Findings:
    """Measure what is asked for; raise HtmdsepError for unknown weights and commands that fail."""
    located = find_weights(options.weights or options.name)
    config = read_info(located.path).config
    settled = [resolve(case, config) for case in options.cases()]
    cases = list(dict.fromkeys(settled))  # "auto" may stand for another
    programs: dict[str, CommandTime] = {}
    if options.only != "network":
        with tempfile.TemporaryDirectory(prefix="htmdsep-bench-") as name:
            folder = Path(name)
            path = options.song or write_song(folder, options.seconds)
            commands = {
                _shown(case.precision, case.engine): own_command(path, folder, case, located.path)
                for case in cases
            }
            programs, printed = time_commands(commands, options.runs)
    import torch  # only now, as time_commands says

    from htmdsep.bench.network import time_networks

    trained = config.segment_length / config.sample_rate
    segments = [trained] if options.only == "program" else [*options.segments, trained]
    timings = time_networks(located, segments, cases, options.runs)
    song = None
    if programs:
        seconds, channels = printed["seconds"], printed["channels"]
        rows = _count_rows(config, seconds, channels)
        alone = {
            _shown(one.precision, one.engine): rows * one.row_seconds
            for one in timings
            if one.segment_seconds == trained
        }
        song = TimedSong(seconds, channels, alone)
    machine = platform.processor() or platform.machine()
    return Findings(
        f"{machine}, {thread_count()} threads, PyTorch {torch.__version__}",
        [] if options.only == "program" else timings,
        song,
        programs,
    )


def _count_rows(config: NetworkConfig, seconds: float, channels: int) -> int:
    """Return how many inputs of the network a song makes."""
    hop = hop_for(config.segment_length, DEFAULT_OVERLAP)
    beyond = max(0, round(seconds * config.sample_rate) - config.segment_length)
    return (1 + -(-beyond // hop)) * -(-channels // config.input_channels)


def _shown(precision: str, engine: str) -> str:
    """Return how a command of our own is shown; PyTorch's is that of the eager network."""
    engine = "torch" if engine == "eager" else engine
    return f"htmdsep --precision {precision} --engine {engine}"


def show(findings: Findings) -> str:
    """Return the findings as text for people."""
    return "\n".join([findings.machine, *_networks(findings), *_programs(findings)])


def _networks(findings: Findings) -> Iterator[str]:
    eager = [one.times_real_time for one in findings.timings if one.engine == "eager"]
    if not eager:
        return
    yield f"\n{'network alone':<16}{'segment':>9}{'x real time':>13}{'x best eager':>14}"
    for one in sorted(findings.timings, key=lambda one: (one.engine, one.precision)):
        yield (
            f"{one.engine + ' ' + one.precision:<16}{one.segment_seconds:>7.2f} s"
            f"{one.times_real_time:>13.1f}{one.times_real_time / max(eager):>14.2f}"
        )


def _programs(findings: Findings) -> Iterator[str]:
    song = findings.song
    if song is None:
        return
    yield f"\nwhole program, {song.seconds:.0f} s, {song.channels} channels"
    yield f"{'wall':>9}{'x real time':>13}{'processor':>11}{'peak MB':>9}{'in network':>12}"
    for name, one in findings.programs.items():
        peak = "?" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:.0f}"
        alone = song.network_seconds.get(name)
        share = "" if alone is None else f"{alone / one.wall_seconds:.0%}"
        yield (
            f"{one.wall_seconds:>7.2f} s{song.seconds / one.wall_seconds:>13.1f}"
            f"{one.cpu_seconds or nan:>9.1f} s{peak:>9}{share:>12}  {name}"
        )
