"""Open, read, merge the manifests of an output folder, on a disk or in an object store.

Runs share a folder: each adds its rows to a file that others may add to as well, and holds a lock
on it that ends with its process. Only merging wants the files for itself.
"""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from htmdsep.batch import storage
from htmdsep.batch.manifest import NAME, PATTERN, Index, ManifestRow, is_manifest
from htmdsep.batch.sources import Shard
from htmdsep.errors import HtmdsepError, PlanError
from htmdsep.files import atomic_path, lock, make_folder, remove_empty

_BINARY = getattr(os, "O_BINARY", 0)  # on Windows, for lines to end as elsewhere
PART_ROWS = 200  # so that an object that grows with every song stays below 300 kB


class Manifest(Protocol):
    """An open manifest; threads may share it."""

    def last(self, identity: str) -> ManifestRow | None:
        """Return a song's last row in all manifests of the folder."""

    def add(self, row: ManifestRow) -> None:
        """Write a row."""


def open_manifest(out: str, shard: Shard | None) -> AbstractContextManager[Manifest]:
    """Open the manifest of an output folder or URL for reading and adding to.

    Waits while manifests are merged there. Raises HtmdsepError where it cannot be written.
    """
    return _open_remote(out) if storage.is_url(out) else _open_local(Path(out), shard)


def has_manifest(out: str) -> bool:
    """Tell whether there is a manifest in a local folder."""
    return not storage.is_url(out) and bool(_manifests_in(Path(out)))


def _own_name(folder: Path) -> str:
    """Return the name of a folder's manifest: another than the usual if that is not of ours."""
    return NAME if is_manifest(folder / NAME) else "manifest-htmdsep.jsonl"


def _manifests_in(folder: Path) -> list[Path]:
    """Return the manifests of a local folder, without other programs' files of such names."""
    return [path for path in sorted(folder.glob(PATTERN)) if is_manifest(path)]


@contextmanager
def read_index(out: str) -> Iterator[Index]:
    """Yield the index over all manifests of a folder or URL, or over one manifest.

    Raises HtmdsepError where there is none.
    """
    with ExitStack() as stack:
        files = [Path(out)]
        if storage.is_url(out):
            files = _fetch_parts(out, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        elif files[0].is_dir():
            files = sorted(files[0].glob(PATTERN))
        if not files or not all(file.is_file() for file in files):
            raise HtmdsepError(f"there is no {NAME} in {out}; name the folder of a batch")
        yield Index(files)


def merge_manifests(folder: Path) -> int:
    """Make one manifest of all in a folder, with the last row of every song; return their number.

    Raises PlanError while a batch runs there, and HtmdsepError where there is no manifest.
    """
    if not has_manifest(str(folder)):
        raise HtmdsepError(f"there is no {NAME} in {folder}; name the local folder of a batch")
    whole = folder / _own_name(folder)
    paths = sorted({whole, *_manifests_in(folder)})
    count = 0
    with ExitStack() as stack:
        for path in paths:
            stack.callback(os.close, _open_locked(path, alone=True))
        with atomic_path(whole) as temporary, temporary.open("wb") as file:
            for line in Index(paths).lines():
                file.write(line)
                count += 1
        # Still locked: no shard can begin and add to a file that is about to go.
        for path in paths:
            if path != whole:
                path.unlink()
    return count


class _LocalManifest:
    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._index: Index | None = None
        self._lock = threading.Lock()

    def last(self, identity: str) -> ManifestRow | None:
        with self._lock:
            # Reading a million rows takes seconds, which only --resume has to spend.
            if self._index is None:
                self._index = Index(self._path.parent.glob(PATTERN))
            self._index.read_on(self._path)  # what others have added meanwhile
            return self._index.last(identity)

    def add(self, row: ManifestRow) -> None:
        line = row.line()
        try:
            with self._lock:
                # One write, so that neither a signal nor another process comes between.
                written = os.write(self._descriptor, line)
        except OSError as error:
            reason = "read-only; give a new --out" if error.errno == errno.EBADF else error.strerror
            raise HtmdsepError(f"cannot write {self._path}: {reason}") from error
        if written < len(line):
            raise HtmdsepError(f"cannot write {self._path}: the disk is full; make room there")


@contextmanager
def _open_local(folder: Path, shard: Shard | None) -> Iterator[Manifest]:
    name = f"manifest-{shard.number}-of-{shard.count}.jsonl" if shard else _own_name(folder)
    with ExitStack() as stack:
        for made in make_folder(folder):
            stack.callback(remove_empty, made)
        descriptor = _open_locked(folder / name)
        stack.callback(os.close, descriptor)
        stack.callback(_unlink_empty, folder / name, descriptor)
        _end_torn_row(descriptor)
        yield _LocalManifest(folder / name, descriptor)


def _open_locked(path: Path, *, alone: bool = False) -> int:
    """Open a manifest for appending, locked until it is closed; return its descriptor.

    Whoever wants it `alone` gets a PlanError while others have it open; they wait for that one.
    """
    while True:
        descriptor = _open(path)
        try:
            # Without locks stems are safe all the same: see docs/catalogues.md.
            if lock(descriptor, shared=not alone, wait=not alone) is False:
                raise PlanError(
                    f"another htmdsep is writing into {path.parent} ({path.name} is in use); wait "
                    "for it, then merge again"
                )
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # a run that ended just now has removed or replaced it


def _open(path: Path) -> int:
    """Open a manifest for appending, or one that may only be read for that: all may be done."""
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
    except OSError as error:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | _BINARY)
        raise HtmdsepError(f"cannot write {path}: {error.strerror}; give another --out") from error


def _end_torn_row(descriptor: int) -> None:
    """Begin a new line where a crash, or a full disk, has left half of one."""
    size = os.fstat(descriptor).st_size
    if size:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                os.write(descriptor, b"\n")


def _unlink_empty(path: Path, descriptor: int) -> None:
    """Leave no manifest that holds nothing, unless others have it open."""
    if os.fstat(descriptor).st_size:
        os.fsync(descriptor)
    elif lock(descriptor, wait=False) is not False:
        with suppress(OSError):  # Windows removes no open file
            path.unlink()


class _RemoteManifest:
    """Rows in an object store, where files can be replaced but not added to.

    They go into objects of at most 200 rows, each replaced as a whole when it grows.
    """

    def __init__(self, out: str, index: Index) -> None:
        begun = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._name = storage.join(out, f"manifest-{begun}-{secrets.token_hex(4)}")
        self._index = index  # of when the run began
        self._parts = 0  # that are full
        self._lines: list[bytes] = []  # of the part that is not
        self._lock = threading.Lock()

    def last(self, identity: str) -> ManifestRow | None:
        return self._index.last(identity)

    def add(self, row: ManifestRow) -> None:
        with self._lock:
            self._lines.append(row.line())
            # What began is told with what ends next: a request a song is enough.
            if row.status != "started" or len(self._lines) >= PART_ROWS:
                self.send()

    def send(self) -> None:
        """Write the last part, and begin another where it is full."""
        if self._lines:
            storage.write(b"".join(self._lines), f"{self._name}-{self._parts:06}.jsonl")
        if len(self._lines) >= PART_ROWS:
            self._parts, self._lines = self._parts + 1, []


@contextmanager
def _open_remote(out: str) -> Iterator[Manifest]:
    """Open a manifest below a URL; every run has files of its own there, so nothing is locked."""
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        manifest = _RemoteManifest(out, Index(_fetch_parts(out, Path(folder))))
        try:
            yield manifest
        finally:
            manifest.send()


def _fetch_parts(out: str, folder: Path) -> list[Path]:
    """Copy the manifests at a URL into a local folder."""
    files = []
    for name in storage.expand_pattern(storage.join(out, PATTERN)) or []:
        files.append(folder / name.rpartition("/")[2])
        storage.fetch(name, files[-1])
    return files
