"""Files: which hold audio, what identifies them, and how they appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from htmdsep.errors import HtmdsepError

NO_ROOM = (
    errno.ENOSPC,
    errno.EFBIG,
    getattr(errno, "EDQUOT", errno.ENOSPC),
)  # Windows has no quota
# What is looked for in folders; a file that is named is tried whatever its ending.
AUDIO_ENDINGS = frozenset({
    ".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape",
    ".asf", ".au", ".avi", ".bwf", ".caf", ".dsf", ".dts", ".eac3", ".flac", ".flv", ".m2a",
    ".m2ts", ".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4",
    ".mpc", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qt", ".ra", ".rf64",
    ".snd", ".spx", ".tak", ".thd", ".ts", ".tta", ".vob", ".voc", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wv",
})  # fmt: skip
ANY_BYTES = "surrogateescape"  # how text is written that holds names of files, which may be no text
PARTIAL = ".part"  # what the names of temporary files end in


@contextmanager
def atomic_paths(targets: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a temporary path beside each target; on a clean exit rename them all into place.

    Folders are made as needed. On an error every temporary file is removed, and so is every
    folder made here. Raises HtmdsepError where a folder cannot be made.
    """
    with ExitStack() as cleanup:
        temporaries = []
        for target in targets:
            for folder in make_folder(target.parent):
                cleanup.callback(remove_empty, folder)
            name = f"{partial_prefix(target)}{secrets.token_hex(4)}{PARTIAL}"
            temporary = target.parent / name
            cleanup.callback(temporary.unlink, missing_ok=True)
            temporaries.append(temporary)
        try:
            yield temporaries
            for temporary in temporaries:
                _flush_to_disk(temporary)
        except OSError as error:
            if error.errno in NO_ROOM and error.filename is None:  # writing tells no name
                error.filename = str(targets[0])
            raise
        _rename_all(temporaries, targets)
        cleanup.pop_all()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the target; on a clean exit rename it into place."""
    with atomic_paths([target]) as (temporary,):
        yield temporary


def partial_prefix(target: Path) -> str:
    """Return what the names of a target's temporary files begin with, short for any name."""
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}."


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _rename_all(temporaries: Sequence[Path], targets: Sequence[Path]) -> None:
    """Rename every temporary file, or undo: a target that was not there before is removed."""
    new = [target for target in targets if not target.exists()]
    try:
        for temporary, target in zip(temporaries, targets, strict=True):
            temporary.replace(target)
    except OSError as error:
        for target in new:
            target.unlink(missing_ok=True)
        raise HtmdsepError(f"cannot write {error.filename2}: {error.strerror}") from error
    for folder in {target.parent for target in targets}:
        _flush_to_disk(folder)


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were missing, outermost first.

    Raises HtmdsepError where it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HtmdsepError(
            f"cannot make the folder {folder}: {error.strerror}; choose another place"
        ) from error
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
