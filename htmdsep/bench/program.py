"""Time the whole command over one file, in several ways, in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile

from htmdsep.errors import HtmdsepError
from htmdsep.options import RunOptions
from htmdsep.separation.selftest import SAMPLE_RATE, synthesised_mixture

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class CommandTime:
    """What a command took: the medians of several runs, and their largest memory."""

    wall_seconds: float
    cpu_seconds: float | None  # None where the system does not say
    peak_bytes: int | None


def write_song(folder: Path, seconds: float) -> Path:
    """Write a stereo MP3 of the built-in mixture, over and over."""
    frames = round(seconds * SAMPLE_RATE)
    path = folder / "song.mp3"
    soundfile.write(path, np.resize(synthesised_mixture(), (frames, 2)), SAMPLE_RATE)
    return path


def own_command(song: Path, folder: Path, case: RunOptions, weights: Path) -> list[str]:
    """Return the command line that separates a song into a folder, in one way."""
    command = [sys.executable, "-m", "htmdsep", str(song), "-o", str(folder / "out"), "--overwrite"]
    way = ["--device", "cpu", "--precision", case.precision, "--engine", case.engine]
    return [*command, "-q", "--json", *way, "--weights", str(weights)]


def time_commands(
    commands: Mapping[str, Sequence[str]], runs: int
) -> tuple[dict[str, CommandTime], dict[str, Any]]:
    """Run every command `runs` times, in turn; return with the times what the last printed, JSON.

    Linux counts the memory of the process that starts a command as the command's, so this one must
    be small: PyTorch is imported later. Raises HtmdsepError where a command fails.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    peaks: dict[str, int | None] = dict.fromkeys(commands)
    for _ in range(runs):
        for name, command in commands.items():
            started, before = time.perf_counter(), _children_seconds()
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            taken = time.perf_counter() - started, _children_seconds() - before
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise HtmdsepError(
                    f"{name} ended with status {done.returncode}: {' '.join(last) or 'no message'}"
                )
            printed = json.loads(done.stdout)
            found[name].append(taken)
            peaks[name] = max(peaks[name] or 0, printed["peak_rss_bytes"] or 0) or None
    times = {}
    for name, taken_in in found.items():
        wall, cpu = map(median, zip(*taken_in, strict=True))
        times[name] = CommandTime(wall, cpu if resource else None, peaks[name])
    return times, printed


def _children_seconds() -> float:
    """Return the processor time of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN) if resource else None
    return usage.ru_utime + usage.ru_stime if usage else 0.0
