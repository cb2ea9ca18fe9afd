"""Keep a manifest in an object store, where files can be replaced but not added to."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htmdsep.fleet import places
from htmdsep.fleet.manifest import PATTERN, Index, Row

PART_ROWS = 200  # so that an object that grows with every song stays below 300 kB


class StoredLedger:
    """Rows go into objects of at most 200 rows, each replaced as a whole when it grows."""

    exclusive = False  # nothing is locked

    def __init__(self, out: str, folder: Path, index: Index) -> None:
        self._out, self.index = out, index
        self._name = f"manifest-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-" + (
            secrets.token_hex(4)
        )
        self._part = folder / "part"
        self._parts = self._rows = 0
        self._pending = False
        self._lock = threading.Lock()

    def add(self, row: Row) -> None:
        """Write a row; safe to be called from several threads."""
        with self._lock:
            if self._rows == PART_ROWS:
                self._parts, self._rows = self._parts + 1, 0
            with self._part.open("wb" if self._rows == 0 else "ab") as file:
                file.write(row.line())
            self._rows += 1
            self._pending = True
            # What began is told with what ends next: a request a song is enough.
            if row.status != "started" or self._rows == PART_ROWS:
                self._send()

    def flush(self) -> None:
        """Send what has not been sent."""
        with self._lock:
            self._send()

    def _send(self) -> None:
        if self._pending:
            name = f"{self._name}-{self._parts:06}.jsonl"
            places.store(self._part, places.join(self._out, name))
            self._pending = False


@contextmanager
def stored_ledger(out: str) -> Iterator[StoredLedger]:
    """Open a manifest below a URL; every run has files of its own there, so nothing is locked."""
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        index = Index(fetched_parts(out, Path(folder)))
        ledger = StoredLedger(out, Path(folder), index)
        try:
            yield ledger
        finally:
            index.close()
            ledger.flush()


def fetched_parts(out: str, folder: Path) -> list[Path]:
    """Copy the manifests at a URL into a local folder."""
    files = []
    for name in places.matches(places.join(out, PATTERN)) or []:
        files.append(folder / name.rpartition("/")[2])
        places.fetch(name, files[-1])
    return files
