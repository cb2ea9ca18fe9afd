"""Songs, manifests and processes for the tests of batches."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
from click.testing import CliRunner, Result

from htmdsep.cli.command import command
from tests.sounds import tone

RATE = 22_050
COMMAND = [sys.executable, "-m", "htmdsep"]
Run = Callable[..., Result]
Begin = Callable[..., "subprocess.Popen[str]"]


def runner(weights: Path) -> Run:
    """Return what runs the command with weights, in this process."""

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        words = ["--weights", str(weights), *map(str, arguments)]
        return CliRunner().invoke(command, words, input=stdin)

    return run


def counts(result: Result) -> str:
    """Return the last line, which counts the songs."""
    return result.stderr.splitlines()[-1]


def write_songs(folder: Path, count: int, seconds: float = 0.3) -> Path:
    """Write songs that differ, named 0.wav, 1.wav, ..., and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        wave = tone(round(seconds * RATE), RATE, 1, 200.0 + 20 * number)
        soundfile.write(folder / f"{number}.wav", wave, RATE)
    return folder


def rows_of(out: Path, name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    """Return a manifest's rows."""
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def done_inputs(out: Path, name: str = "manifest.jsonl") -> list[str]:
    """Return the names of the songs that were computed, each as often as it was."""
    return [Path(row["input"]).name for row in rows_of(out, name) if row["status"] == "done"]


def is_whole(out: Path, tracks: list[str]) -> bool:
    """Tell whether both stems of every track can be read, and nothing half-made lies about."""
    for track in tracks:
        lengths = {
            soundfile.info(out / track / f"{stem}.wav").frames
            for stem in ("vocals", "accompaniment")
        }
        if len(lengths) != 1 or not lengths.pop():
            return False
    return not list(out.rglob("*.part"))


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own, which no signal passes by.

    Under nohup, or behind a shell's "&", it would take over that some are ignored.
    """

    def listen() -> None:
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
        **options,
    )


def wait_for(process: subprocess.Popen[Any], is_so: Callable[[], bool]) -> None:
    """Wait until something is so, while a process works."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def finish(process: subprocess.Popen[Any]) -> tuple[int, str]:
    """Wait for a process; return its status and what it wrote on standard error."""
    try:
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()  # does nothing to a process that has ended
    return process.returncode, stderr


def partial_files(out: Path) -> int:
    """Return how many files are being written."""
    return len(list(out.rglob("*.part")))
