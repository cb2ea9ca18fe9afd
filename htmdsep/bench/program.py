"""Time whole commands over one file, ours and others', in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from htmdsep.errors import HtmdsepError
from htmdsep.options import RunOptions
from htmdsep.separation.selftest import SAMPLE_RATE, synthesised_mixture

LAUNCHER = Path(__file__).parent / "launch.py"
KILL_SECONDS = 5.0  # that a launcher has to end its command


@dataclass(frozen=True)
class CommandTime:
    """What a command took: one run, or the medians of several and their largest memory."""

    wall_seconds: float
    cpu_seconds: float | None  # None where the system does not say
    peak_bytes: int | None  # of the largest process


def write_song(folder: Path, seconds: float) -> Path:
    """Write a stereo MP3 of the built-in mixture, over and over."""
    path = folder / "song.mp3"
    shape = round(seconds * SAMPLE_RATE), 2
    soundfile.write(path, np.resize(synthesised_mixture(), shape), SAMPLE_RATE)
    return path


def own_command(case: RunOptions, weights: Sequence[str]) -> list[str]:
    """Return the command line that separates {song}, in one way."""
    files = ["{song}", "-o", "{out}-own", "--overwrite", "-q"]
    way = ["--device", "cpu", "--precision", case.precision, "--engine", case.engine]
    return [sys.executable, "-m", "htmdsep", *files, *way, *weights]


def time_commands(
    commands: Mapping[str, Sequence[str]], places: Mapping[str, str], runs: int, folder: Path
) -> dict[str, CommandTime]:
    """Run every command `runs` times, in turn, in `folder`; raise HtmdsepError where one fails.

    What stands in `places`, as {song}, is filled in.
    """
    found: dict[str, list[CommandTime]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            for mark, place in places.items():
                command = [word.replace(mark, place) for word in command]
            found[name].append(_run(name, command, folder))
    return {name: _summed_up(taken) for name, taken in found.items()}


def _summed_up(taken: Sequence[CommandTime]) -> CommandTime:
    processor = [run.cpu_seconds for run in taken if run.cpu_seconds is not None]
    return CommandTime(
        wall_seconds=median(run.wall_seconds for run in taken),
        cpu_seconds=median(processor) if processor else None,
        peak_bytes=max((run.peak_bytes for run in taken if run.peak_bytes), default=None),
    )


def _run(name: str, command: Sequence[str], folder: Path) -> CommandTime:
    result = folder / "run.json"
    process = subprocess.Popen(
        [sys.executable, LAUNCHER, result, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:  # a signal ends this process, and must end the command, too
            _kill(process)
    if process.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-1:]
        raise HtmdsepError(
            f"{name} ended with status {process.returncode}: {' '.join(last) or 'no message'}"
        )
    return CommandTime(**json.loads(result.read_text(encoding="utf-8")))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends its command, and then whatever that has left behind."""
    process.terminate()
    try:
        process.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    if hasattr(os, "killpg"):  # not on Windows
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
