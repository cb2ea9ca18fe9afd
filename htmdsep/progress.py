"""Progress bars on standard error: one over the files, one for each file in work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from htmdsep.stems import Progress

FILE_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
FILE_BAR_OPEN = "{desc} {n:.0f} s [{elapsed}]"  # where the length is unknown


class Bars:
    """The bars of a run; all of them hidden with `shown=False`."""

    def __init__(self, files: int, *, shown: bool) -> None:
        self._shown = shown
        self._files = tqdm(
            total=files,
            desc="files",
            unit="file",
            disable=not (shown and files > 1),
            file=sys.stderr,
            position=0,
            leave=False,
        )
        self._positions: list[int] = []
        self._started = time.monotonic()
        self._audio_seconds = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def file(self, label: str) -> Iterator[Progress]:
        """Show a bar for one file; yields the function to report progress to."""
        with (
            self._position() as position,
            tqdm(
                desc=label,
                bar_format=FILE_BAR_OPEN,
                disable=not self._shown,
                file=sys.stderr,
                position=position,
                leave=False,
            ) as bar,
        ):

            def report(seconds: float, total_seconds: float | None) -> None:
                if total_seconds is not None:
                    bar.total = max(seconds, total_seconds)
                    bar.bar_format = FILE_BAR
                bar.update(seconds - bar.n)

            yield report

    def finish_file(self, audio_seconds: float = 0.0) -> None:
        """Count a file as dealt with, and show how many times real time all files make."""
        self._audio_seconds += audio_seconds
        if self._audio_seconds:
            rate = self._audio_seconds / (time.monotonic() - self._started)
            self._files.set_postfix_str(f"{rate:.1f} x real time", refresh=False)
        self._files.update()

    def close(self) -> None:
        """Take the bars off the screen."""
        self._files.close()

    @contextmanager
    def _position(self) -> Iterator[int]:
        """Reserve the lowest free line below the bar over the files."""
        with self._lock:
            position = next(line for line in range(1, 1000) if line not in self._positions)
            self._positions.append(position)
        try:
            yield position
        finally:
            with self._lock:
                self._positions.remove(position)
