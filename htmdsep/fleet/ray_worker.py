"""What runs inside a Ray worker: a network that is loaded once, and one song at a time."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from htmdsep.fleet.outcome import FAILURES, Outcome, Task
from htmdsep.fleet.work import Manner, StoppedError, separate_job
from htmdsep.options import FileOptions


@dataclass(frozen=True)
class Setup:
    """How every worker separates."""

    weights_name: str
    manner: Manner
    options: FileOptions
    threads: int


class Worker:
    """The actor. Its network comes with a call, as arguments to an actor are lost on a restart."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def load(self, weights: bytes, setup: Setup) -> None:
        """Build the network from the bytes of a weights file, which the object store holds."""
        with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
            path = Path(folder) / f"{setup.weights_name}.safetensors"
            path.write_bytes(weights)
            self._separator = setup.manner.separator(path, setup.threads)
        self._options = setup.options

    def stop(self) -> None:
        """Let the song in work end at its next block, with its files removed."""
        self._stop.set()

    def separate(self, task: Task) -> Outcome | None:
        """Separate a song; None where it was stopped."""
        started = time.monotonic()
        done, error = None, None
        try:
            done = separate_job(self._separator, task.job, self._options, self._progress)
        except StoppedError:
            return None
        except FAILURES as failure:
            error = failure
        return Outcome(task.job, time.monotonic() - started, done, error)

    def _progress(self, _: float, __: float | None) -> None:
        if self._stop.is_set():
            raise StoppedError("interrupted")
