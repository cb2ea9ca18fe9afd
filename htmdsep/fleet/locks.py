"""Locks that end with the process that holds them: those of an open file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htmdsep.batch import PlanError
from htmdsep.errors import HtmdsepError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BINARY = getattr(os, "O_BINARY", 0)  # on Windows, for lines to end as elsewhere


def open_locked(path: Path) -> tuple[int, bool]:
    """Open a manifest for appending; return its descriptor, and whether it is locked.

    Raises PlanError where another process holds the lock.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | BINARY, 0o666)
        except OSError as error:
            raise HtmdsepError(
                f"cannot write {path}: {error.strerror}; choose another --out"
            ) from error
        try:
            locked = _lock(descriptor, path, shared=False)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, locked
        except FileNotFoundError:
            pass
        except PlanError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # a run that ended just now has removed or replaced it


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Hold the lock that keeps off whoever wants to write a manifest."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        _lock(descriptor, path, shared=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, *, shared: bool) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PlanError(
            f"another htmdsep is writing into {path.parent} ({path.name} is in use); wait for it, "
            "or give another --out"
        ) from error
    except OSError:
        return False  # a file system without locks: stems are safe all the same, see the docs
    return True
