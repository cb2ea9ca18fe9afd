"""Measure what the benchmark's command asks for, and lay it out."""

from __future__ import annotations

import platform
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
import torch

from htmdsep.bench.network import EAGER, Runner, Timing, Way, settled, time_networks
from htmdsep.bench.program import Run, own_command, time_commands, write_song
from htmdsep.catalogue import find_weights
from htmdsep.choice import thread_count
from htmdsep.chunks import hop_for
from htmdsep.model import Network
from htmdsep.options import DEFAULT_OVERLAP, Precision
from htmdsep.reader import open_audio
from htmdsep.weights_file import load_weights


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    song: Path | None  # None: a built-in one of `seconds`
    seconds: float
    weights: str | Path | None
    segments: tuple[float, ...]  # seconds
    ways: tuple[Way, ...]
    runs: int
    network: bool
    program: bool
    rivals: tuple[str, ...]  # shell commands


@dataclass(frozen=True)
class Song:
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
    song: Song
    programs: dict[str, Run]  # by command


def measure(plan: Plan) -> Findings:
    """Measure what is planned; raise HtmdsepError for unknown weights and commands that fail."""
    located = find_weights(plan.weights)
    network, _ = load_weights(located.path)
    plan = replace(plan, ways=tuple(settled(plan.ways, network.config)))
    trained = network.config.segment_length / network.config.sample_rate
    segments = [*plan.segments, trained] if plan.network else [trained]
    timings, peaks = time_networks(network, located, segments, plan.ways, plan.runs)
    with tempfile.TemporaryDirectory(prefix="htmdsep-bench-") as name:
        folder = Path(name)
        path = plan.song or write_song(folder, plan.seconds)
        song = _song(path.resolve(), network, timings)
        programs = {}
        if plan.program:
            programs = time_commands(_commands(plan, path.resolve(), folder), plan.runs, folder)
    return Findings(
        machine=(
            f"{platform.processor() or platform.machine()}, {thread_count()} threads, "
            f"NumPy {np.__version__}, PyTorch {torch.__version__}"
        ),
        peaks=peaks,
        timings=timings if plan.network else [],
        song=song,
        programs=programs,
    )


def _commands(plan: Plan, song: Path, folder: Path) -> dict[str, list[str]]:
    weights = [] if plan.weights is None else ["--weights", str(find_weights(plan.weights).path)]
    commands: dict[str, list[str]] = {
        _shown(way.precision, way.engine): own_command(
            song,
            folder / "out",
            ["--device", "cpu", "--precision", way.precision, "--engine", way.engine, *weights],
        )
        for way in plan.ways
    }
    for rival in plan.rivals:
        commands[rival] = [
            word.replace("{song}", str(song)).replace("{out}", str(folder / "vs"))
            for word in shlex.split(rival)
        ]
    return commands


def _song(path: Path, network: Network, timings: Sequence[Timing]) -> Song:
    """Return how long the network alone takes for a song, by its speed at the trained length."""
    with open_audio(path) as reader:
        frames = sum(map(len, reader.blocks()))
        seconds, channels = frames / reader.header.sample_rate, reader.header.channels
    config = network.config
    length = round(seconds * config.sample_rate)
    hop = hop_for(config.segment_length, DEFAULT_OVERLAP)
    segments = 1 + max(0, -(-(length - config.segment_length) // hop))
    trained = config.segment_length / config.sample_rate
    rows = segments * channels
    alone: dict[str, float] = {
        _shown(timing.precision, timing.engine): rows * timing.row_seconds
        for timing in timings
        if timing.engine != EAGER and timing.segment_seconds == trained
    }
    return Song(seconds, channels, alone)


def _shown(precision: Precision, engine: Runner) -> str:
    """Return how a command of our own is shown."""
    return f"htmdsep --precision {precision} --engine {engine}"


def show(findings: Findings) -> str:
    """Return the findings as text for people."""
    return "\n".join([*_heading(findings), *_networks(findings), *_programs(findings)])


def _heading(findings: Findings) -> Iterator[str]:
    yield findings.machine
    for precision, peak in findings.peaks.items():
        yield f"matrix product, {precision}: {peak:.0f} GFLOP/s"


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
