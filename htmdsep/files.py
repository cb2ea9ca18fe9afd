"""Files: which hold audio, what identifies them, and how they appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from htmdsep.errors import DiskError, HtmdsepError, explained

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # that is, what `atomic_paths` makes
LIVE_SECONDS = 600.0  # a song in work is written to far more often

NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # or no quota left
# What is looked for in folders; a file that is named is tried whatever its ending.
AUDIO_ENDINGS = frozenset({
    ".3g2", ".3ga", ".3gp", ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape",
    ".asf", ".au", ".avi", ".bwf", ".caf", ".dsf", ".dts", ".eac3", ".flac", ".flv", ".m2a",
    ".m2ts", ".m4a", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4",
    ".mpc", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qt", ".ra", ".rf64",
    ".snd", ".spx", ".tak", ".thd", ".ts", ".tta", ".vob", ".voc", ".w64", ".wav", ".wave",
    ".weba", ".webm", ".wma", ".wmv", ".wv",
})  # fmt: skip
# What some disk takes in no file's name
UNSAFE_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
DEVICE_NAME = re.compile(r"con|prn|aux|nul|(com|lpt)\d", re.IGNORECASE)  # of Windows
ANY_BYTES = "surrogateescape"  # how text is written that holds names of files, which may be no text


@contextmanager
def atomic_paths(targets: Sequence[Path], *, overwrite: bool = True) -> Iterator[list[Path]]:
    """Yield a temporary path beside each target; on a clean exit rename them all into place.

    Folders are made as needed, and links of targets followed. On an error every temporary file is
    removed, and so is every folder made here; what a killed process leaves, `remove_abandoned`
    finds. Raises HtmdsepError where a folder or a file cannot be made, for a target that is there
    and no plain file, as pipes and devices are, and, unless they may be overwritten, for targets
    that are there in the end.
    """
    targets = [_plain_file(target) for target in targets]
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
        try:
            yield temporaries
            for temporary in temporaries:
                _flush_to_disk(temporary)
        except OSError as error:
            if error.errno in NO_ROOM and error.filename is None:  # writing tells no name
                error.filename = str(targets[0])
            raise
        if fcntl is None:
            locks.close()  # Windows renames no open file
        _rename_all(temporaries, targets, overwrite)
        cleanup.pop_all()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the target; on a clean exit rename it into place."""
    with atomic_paths([target]) as (temporary,):
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, which appears whole; names in it need not be text."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ANY_BYTES)


def readable(name: str) -> str:
    """Return a name with a mark for each byte that is no text."""
    return name.encode("utf-8", ANY_BYTES).decode("utf-8", "replace")


def is_safe_name(name: str) -> bool:
    """Tell whether every usual disk takes a name, or a part of one."""
    is_unsafe = UNSAFE_IN_NAMES.search(name) or DEVICE_NAME.fullmatch(name)
    return name.isprintable() and name == name.strip(" .") and not is_unsafe


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in a folder that no process works on any more."""
    with suppress(OSError):  # there may be no such folder, and some other run may be as tidy
        for path in folder.glob(".*.part"):
            if PARTIAL.fullmatch(path.name):
                with _held(path) as is_abandoned:
                    if is_abandoned:
                        path.unlink()


def is_in_work(targets: Iterable[Path]) -> bool:
    """Tell whether some process is writing one of these files."""
    for target in map(_followed, targets):
        for path in target.parent.glob(f".{_mark(target)}.*.part"):
            with suppress(FileNotFoundError), _held(path) as is_abandoned:
                if not is_abandoned:
                    return True
    return False


@contextmanager
def claimed(target: Path) -> Iterator[bool]:
    """Yield whether a file is the caller's to make: until the end no other may claim it, then.

    A temporary file of a name of its own tells, by its lock; without locks all may claim.
    """
    target, is_mine = _followed(target), True
    claim = target.parent / f".{_mark(target)}.00000000.part"
    with ExitStack() as cleanup:
        with suppress(DiskError, OSError):  # the work itself will say what is wrong
            for folder in make_folder(target.parent):
                cleanup.callback(remove_empty, folder)
            kind = os.O_RDWR | os.O_CREAT | getattr(os, "O_TEMPORARY", 0)  # that is, on Windows
            descriptor = os.open(claim, kind, 0o666)
            cleanup.callback(os.close, descriptor)
            is_mine = lock(descriptor, wait=False) is not False and claim.exists()
            if is_mine and fcntl is not None:
                cleanup.callback(claim.unlink, missing_ok=True)
        yield is_mine


def _followed(target: Path) -> Path:
    """Return the file that a link leads to; links among the folders stay."""
    return Path(os.path.realpath(target)) if os.path.islink(target) else target  # noqa: PTH114


def _plain_file(target: Path) -> Path:
    """Return where a file's content goes; raise DiskError where that is no file's place."""
    place = _followed(target)
    if place is not target and not place.parent.is_dir():
        raise DiskError(f"{target} is a link to {place}, whose folder is not there; remove it")
    if os.path.exists(place) and not place.is_file():  # noqa: PTH110
        kind = "a folder" if place.is_dir() else "a pipe or a device"
        raise DiskError(f"cannot write {target}: it is {kind}; name a file")
    return place


def _mark(target: Path) -> str:
    """Return what the names of a target's temporary files begin with, short for any name."""
    return hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()


def _make_locked(temporary: Path, target: Path) -> int:
    """Make a file with a lock that ends when its descriptor, which is returned, is closed."""
    while True:
        remedy = "choose another place, or another name"
        with explained(f"cannot write {target}", remedy, kind=DiskError):
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666)
        lock(descriptor)
        if temporary.exists():
            return descriptor
        os.close(descriptor)  # it was taken for an abandoned one before it was locked


@contextmanager
def _held(temporary: Path) -> Iterator[bool]:
    """Yield whether nobody works on a temporary file, whose last change tells without locks."""
    if fcntl is None:
        yield True  # Windows removes no open file
        return
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        is_abandoned = lock(descriptor, wait=False)
        if is_abandoned is None:
            is_abandoned = time.time() - os.fstat(descriptor).st_mtime > LIVE_SECONDS
        yield is_abandoned
    finally:
        os.close(descriptor)


def lock(descriptor: int, *, shared: bool = False, wait: bool = True) -> bool | None:
    """Lock an open file until it is closed; tell whether that succeeded, None without any locks.

    Locks that are all `shared` go together. Another's is waited for, or it is False at once.
    """
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows none
        return None
    return True


@contextmanager
def stored_stream(stream: BinaryIO, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary file with all that a stream holds; raise DiskError where it has no room."""
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        stored = Path(folder) / f"stored{suffix}"
        told = f"cannot be stored in {stored.parent.parent}"
        remedy = "make room there, or let TMPDIR name another folder"
        with explained(told, remedy, kind=DiskError), stored.open("wb") as file:
            shutil.copyfileobj(stream, file)
        yield stored


@contextmanager
def reading() -> Iterator[None]:
    """Turn the errors of opening an input into HtmdsepError with a remedy."""
    try:
        yield
    except IsADirectoryError as error:
        raise HtmdsepError("it is a folder; give --recursive or name its files") from error
    except FileNotFoundError as error:
        raise HtmdsepError("no such file; check the path") from error
    except PermissionError as error:
        raise HtmdsepError(
            "permission to read it is denied; change that or copy the file"
        ) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of(file)


def sha256_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of what an open file still holds, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _rename_all(temporaries: Sequence[Path], targets: Sequence[Path], overwrite: bool) -> None:
    """Rename every temporary file, or undo: a target that was not there before is removed."""
    new: list[Path] = []
    try:
        for temporary, target in zip(temporaries, targets, strict=True):
            is_new = not target.exists()
            (Path.replace if overwrite else _rename)(temporary, target)
            new += [target] * is_new
    except OSError as error:
        for target in new:
            target.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise HtmdsepError(
                f"another run has just written {error.filename2}; give other names, by --out or "
                "--filename, or --overwrite"
            ) from error
        name = error.filename2 or error.filename
        raise DiskError(f"cannot write {name}: {error.strerror}") from error
    for folder in {target.parent for target in targets}:
        _flush_to_disk(folder)


def _rename(temporary: Path, target: Path) -> None:
    """Rename a file; raise FileExistsError where there is one of that name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: what is there now has to tell
        if target.exists():
            raise FileExistsError(errno.EEXIST, "", str(temporary), None, str(target)) from None
        temporary.replace(target)
    else:
        temporary.unlink()


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were missing, outermost first."""
    # Paths' own methods raise for names that are too long
    missing = [one for one in (folder, *folder.parents) if not os.path.exists(one)][::-1]  # noqa: PTH110
    for path in missing:
        if os.path.islink(path):  # noqa: PTH114
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


def refuse_input(target: Path, source: Path, remedy: str = "name another file") -> None:
    """Raise HtmdsepError where the file to be written is the one that is read, by whatever name."""
    if target.exists() and source.exists() and target.samefile(source):
        raise HtmdsepError(f"{target} is the input itself; {remedy}")


def remove_empty(folder: Path) -> None:
    """Remove a folder unless something is in it."""
    with suppress(OSError):  # something has landed there
        folder.rmdir()


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
