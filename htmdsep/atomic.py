"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from htmdsep.errors import DiskError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LIVE_SECONDS = 600.0  # a song in work is written to far more often


@contextmanager
def atomic_paths(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a temporary path beside each target; on a clean exit rename them all into place.

    Folders are made as needed. On an error every temporary file is removed, and so is every
    folder made here; what a killed process leaves, `remove_abandoned` finds. Raises HtmdsepError
    where a folder or a file cannot be made.
    """
    with ExitStack() as cleanup, ExitStack() as locks:
        temporaries = []
        for target in targets:
            for folder in make_folder(target.parent):
                cleanup.callback(remove_empty, folder)
            # Short, as names may be as long as the file system allows
            temporary = target.parent / f".{_mark(target)}.{secrets.token_hex(4)}.part"
            cleanup.callback(temporary.unlink, missing_ok=True)
            locks.callback(os.close, _make_locked(temporary, target))
            temporaries.append(temporary)
        yield temporaries
        for temporary in temporaries:
            _flush_to_disk(temporary)
        if fcntl is None:
            locks.close()  # Windows renames no open file
        _rename_all(temporaries, targets)
        cleanup.pop_all()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the target; on a clean exit rename it into place."""
    with atomic_paths([target]) as (temporary,):
        yield temporary


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in a folder that no process works on any more."""
    with suppress(OSError):  # there may be no such folder, and some other run may be as tidy
        for path in folder.glob(".*.part"):
            if not _is_locked(path):
                path.unlink()


def is_in_work(targets: Iterable[Path]) -> bool:
    """Tell whether some process is writing one of these files."""
    return any(
        _is_locked(path)
        for target in targets
        for path in target.parent.glob(f".{_mark(target)}.*.part")
    )


def _mark(target: Path) -> str:
    return hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()


def _make_locked(temporary: Path, target: Path) -> int:
    """Make a file with a lock that ends when its descriptor, which is returned, is closed."""
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise DiskError(
            f"cannot write {target}: {error.strerror}; choose another place, or another name"
        ) from error
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_locked(temporary: Path) -> bool:
    """Tell whether a temporary file is worked on; where there are no locks, by its last change."""
    if fcntl is None:
        return False  # Windows removes no open file
    try:
        descriptor = os.open(temporary, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < LIVE_SECONDS
    finally:
        os.close(descriptor)
    return False


def _rename_all(temporaries: Sequence[Path], targets: Sequence[Path]) -> None:
    """Rename every temporary file, or undo: a target that was not there before is removed."""
    new = [target for target in targets if not target.exists()]
    try:
        for temporary, target in zip(temporaries, targets, strict=True):
            temporary.replace(target)
    except OSError as error:
        for target in new:
            target.unlink(missing_ok=True)
        raise DiskError(f"cannot write {error.filename2}: {error.strerror}") from error
    for folder in {target.parent for target in targets}:
        _flush_to_disk(folder)


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were missing, outermost first.

    Raises HtmdsepError where it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    for path in missing:
        if path.is_symlink():
            raise DiskError(
                f"{path} is a link to {path.readlink()}, which is not there; mount its disk, or "
                "choose another place"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # What FAT, and what others say to names with characters that they do not know
        odd = error.errno in (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOENT)
        remedy = "its disk takes no such name: give --filename" if odd else "choose another place"
        raise DiskError(f"cannot make the folder {folder}: {error.strerror}; {remedy}") from error
    return missing


def remove_empty(folder: Path) -> None:
    """Remove a folder unless something is in it."""
    try:
        folder.rmdir()
    except OSError:
        pass  # something has landed there


def _flush_to_disk(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    # Windows flushes only what may be written, and no folder may be.
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except OSError:
        if is_folder:
            return  # Windows opens no folders
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
