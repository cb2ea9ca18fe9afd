"""Time whole commands over one file, ours and others', in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from htmdsep.errors import HtmdsepError
from htmdsep.selftest import SAMPLE_RATE, synthesised_mixture


@dataclass(frozen=True)
class Run:
    """What one run of a command took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None  # of the largest process; None where the system does not say


@dataclass(frozen=True)
class ProgramTiming:
    """A command's medians."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def write_song(folder: Path, seconds: float) -> Path:
    """Write a stereo MP3 of the built-in mixture, over and over."""
    mixture = synthesised_mixture()
    frames = round(seconds * SAMPLE_RATE)
    path = folder / "song.mp3"
    soundfile.write(path, np.resize(mixture, (frames, 2)), SAMPLE_RATE)
    return path


def own_command(song: Path, out: Path, arguments: Sequence[str]) -> list[str]:
    """Return the command line that separates a song into a folder."""
    command = [sys.executable, "-m", "htmdsep", str(song), "-o", str(out), "--overwrite", "-q"]
    return [*command, *arguments]


def time_commands(
    commands: Mapping[str, Sequence[str] | str], runs: int, folder: Path
) -> list[ProgramTiming]:
    """Run every command `runs` times, in turn; texts go to the shell, in `folder`.

    Raises HtmdsepError where one fails.
    """
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(_run(name, command, folder))
    return [
        ProgramTiming(
            name,
            median(run.wall_seconds for run in taken),
            median(run.cpu_seconds for run in taken),
            max((run.peak_bytes for run in taken if run.peak_bytes), default=None),
        )
        for name, taken in found.items()
    ]


def _run(name: str, command: Sequence[str] | str, folder: Path) -> Run:
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, shell=isinstance(command, str), cwd=folder, stdout=said, stderr=said
        )
        cpu_seconds, peak_bytes = _waited(process)
        wall_seconds = time.perf_counter() - started
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise HtmdsepError(
                f"{name} ended with status {process.returncode}: {' '.join(last) or 'no message'}"
            )
    return Run(wall_seconds, cpu_seconds, peak_bytes)


def _waited(process: subprocess.Popen[bytes]) -> tuple[float, int | None]:
    """Wait for a process; return its processor time in seconds and its largest memory."""
    if not hasattr(os, "wait4"):  # Windows
        process.wait()
        return float("nan"), None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit
