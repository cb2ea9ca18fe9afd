"""Keep the manifest of an output folder while a batch runs; refuse a second batch beside it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path, make_folder, remove_empty
from htmdsep.fleet import places
from htmdsep.fleet.locks import open_locked, shared_lock
from htmdsep.fleet.manifest import NAME, PATTERN, Index, Row
from htmdsep.fleet.shards import Shard
from htmdsep.fleet.stored import fetched_parts, stored_ledger


class Ledger(Protocol):
    """An open manifest."""

    @property
    def index(self) -> Index:
        """What all manifests of the folder hold when it is first asked for."""

    @property
    def exclusive(self) -> bool:
        """Whether it is certain that no other run writes the same songs."""

    def add(self, row: Row) -> None:
        """Write a row; safe to be called from several threads."""


@contextmanager
def open_ledger(out: str, shard: Shard | None) -> Iterator[Ledger]:
    """Open the manifest of an output folder or URL for reading and adding to.

    On a local file system it is locked until the end of the process, however that comes. Raises
    PlanError where another batch holds it.
    """
    with ExitStack() as stack:
        if places.is_url(out):
            yield stack.enter_context(stored_ledger(out))
        else:
            yield stack.enter_context(_local_ledger(Path(out), manifest_name(shard)))


def manifest_name(shard: Shard | None) -> str:
    """Return the name of the file that a run, or a shard of one, writes."""
    return NAME if shard is None else f"manifest-{shard.number}-of-{shard.count}.jsonl"


def has_manifest(out: str) -> bool:
    """Tell whether there is a manifest in a local folder."""
    return not places.is_url(out) and any(Path(out).glob(PATTERN))


@contextmanager
def read_index(out: str) -> Iterator[Index]:
    """Yield the index over all manifests of a folder or URL, or over one manifest.

    Raises HtmdsepError where there is none.
    """
    with ExitStack() as stack:
        files = [Path(out)]
        if places.is_url(out):
            files = fetched_parts(out, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        elif files[0].is_dir():
            files = sorted(files[0].glob(PATTERN))
        if not files or not all(file.is_file() for file in files):
            raise HtmdsepError(f"there is no {NAME} in {out}; name the folder of a batch")
        index = Index(files)
        stack.callback(index.close)
        yield index


def merge_manifests(folder: Path) -> int:
    """Make one manifest of all in a folder, with the last row of every song; return their number.

    Raises PlanError while a batch runs there, and HtmdsepError where there is no manifest.
    """
    if not has_manifest(str(folder)):
        raise HtmdsepError(f"there is no {NAME} in {folder}; name the local folder of a batch")
    count = 0
    with _local_ledger(folder, NAME) as ledger:
        with atomic_path(folder / NAME) as temporary, temporary.open("wb") as file:
            for line in ledger.index.lines():
                file.write(line)
                count += 1
        # Still locked: no shard can begin and add to a file that is about to go.
        for path in folder.glob(PATTERN):
            if path.name != NAME:
                path.unlink(missing_ok=True)
    return count


class _LocalLedger:
    def __init__(self, path: Path, descriptor: int, end: ExitStack, *, exclusive: bool) -> None:
        self.exclusive = exclusive
        self._path, self._descriptor, self._end = path, descriptor, end
        self._lock = threading.Lock()

    @cached_property
    def index(self) -> Index:
        """What all manifests of the folder hold when it is first asked for."""
        index = Index(self._path.parent.glob(PATTERN))
        self._end.callback(index.close)
        return index

    def add(self, row: Row) -> None:
        line = row.line()
        try:
            with self._lock:
                # One write, so that neither a signal nor another process comes between.
                written = os.write(self._descriptor, line)
        except OSError as error:
            raise HtmdsepError(f"cannot write {self._path}: {error.strerror}") from error
        if written < len(line):
            raise HtmdsepError(f"cannot write {self._path}: the disk is full; make room there")


@contextmanager
def _local_ledger(folder: Path, name: str) -> Iterator[Ledger]:
    path = folder / name
    with ExitStack() as stack:
        for made in make_folder(folder):
            stack.callback(remove_empty, made)
        descriptor, locked = open_locked(path)
        stack.callback(os.close, descriptor)
        stack.callback(_unlink_empty, path, descriptor)
        for other in sorted(folder.glob(PATTERN)):
            # Shards run beside each other, but neither beside a run over everything.
            if other.name != name and NAME in (name, other.name):
                stack.enter_context(shared_lock(other))
        _end_torn_row(descriptor)
        yield _LocalLedger(path, descriptor, stack, exclusive=locked)


def _end_torn_row(descriptor: int) -> None:
    """Begin a new line where a crash, or a full disk, has left half of one."""
    size = os.fstat(descriptor).st_size
    if size:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                os.write(descriptor, b"\n")


def _unlink_empty(path: Path, descriptor: int) -> None:
    """Leave no manifest that holds nothing; merging has put another in its place."""
    here = os.fstat(descriptor)
    if here.st_size:
        os.fsync(descriptor)
    elif os.path.samestat(here, path.stat()):
        with suppress(PermissionError):  # Windows removes no open file
            path.unlink()
