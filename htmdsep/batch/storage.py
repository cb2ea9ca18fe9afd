"""Where inputs and outputs lie: local paths, and fsspec URLs such as s3://bucket/song.mp3."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from htmdsep.errors import HtmdsepError, PlanError, explained
from htmdsep.files import sha256, sha256_of

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WILD = re.compile(r"[*?[]")
# What file systems call the mark that changes with an object's content, best first.
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "updated",
             "created")  # fmt: skip


def is_url(name: str) -> bool:
    """Tell whether a name is an address rather than a path."""
    return "://" in name and _URL.match(name) is not None


def absolute(name: str) -> str:
    """Return a name that means the same from every working folder."""
    return name if is_url(name) else os.path.abspath(name)  # noqa: PTH100


def without_scheme(name: str) -> str:
    """Return the path that a file:// URL stands for, any other name as it is."""
    if not name.startswith("file://"):
        return name
    from urllib.request import url2pathname  # brings http, email and ssl

    return url2pathname(name.removeprefix("file://").removeprefix("localhost"))


def tidied(name: str) -> str:
    """Return an input as it is used: file:// replaced, and ~ unless a file is called so."""
    name = without_scheme(name)
    if name.startswith("~") and not os.path.lexists(name):
        return os.path.expanduser(name)  # noqa: PTH111 (raises where there is no home)
    return name


def settled(out: str) -> str:
    """Return an output folder as it is used: file:// and ~ replaced, without a slash behind."""
    if not out:
        raise PlanError("--out is empty; name a folder")
    out = os.path.expanduser(without_scheme(out))  # noqa: PTH111 (raises where there is no home)
    if is_url(out):
        return out.rstrip("/")
    if not Path(out).is_absolute():
        told = f"--out {out} lies in the working folder, which is gone"
        with explained(told, "go to another", kind=PlanError):
            Path.cwd()
    return str(Path(out))


def resolved(name: str) -> str:
    """Return the one name of a place that links may give several to."""
    return name.rstrip("/") if is_url(name) else os.path.realpath(name)


def is_below(name: str, folder: str) -> bool:
    """Tell whether an absolute name lies below an absolute folder."""
    separator = "/" if is_url(folder) else os.sep
    return name.startswith(folder.rstrip(separator) + separator)


def join(folder: str, name: str) -> str:
    """Return the place of a name below a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)  # noqa: PTH118


def parent(name: str) -> str:
    """Return the folder that a place lies in."""
    return name.rpartition("/")[0] if is_url(name) else os.path.dirname(name)  # noqa: PTH120


def stamp(name: str) -> str | None:
    """Return a file's size and what else tells cheaply of a change; None where there is none.

    For local files "bytes:nanoseconds" of the last modification, for URLs "bytes:mark" with the
    entity tag, hash or time that the store tells.
    """
    if not is_url(name):
        try:
            found = os.stat(name)  # noqa: PTH116 (three a song, a million songs)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{found.st_size}:{found.st_mtime_ns}"
    with remote(name) as (system, path):
        refreshes = system.protocol in ("s3", ("s3", "s3a"))  # others know no such argument
        try:
            info = system.info(path, refresh=True) if refreshes else system.info(path)
        except FileNotFoundError:
            return None
        version = next((info[key] for key in _VERSIONS if info.get(key)), "")
        return f"{info.get('size')}:{version}".replace('"', "")


def known_stamp(name: str) -> str | None:
    """Return a file's stamp, None also where it cannot be found out."""
    try:
        return stamp(name)
    except (OSError, HtmdsepError):
        return None


def exists(name: str) -> bool:
    """Tell whether there is a file, as far as can be seen."""
    return known_stamp(name) is not None


def size_of(mark: str | None) -> int:
    """Return the bytes that a stamp tells of, 0 where it tells none."""
    size = (mark or "").partition(":")[0]
    return int(size) if size.isdigit() else 0


def hash_content(name: str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    if not is_url(name):
        return sha256(Path(name))
    with remote(name) as (system, path), system.open(path, "rb") as file:
        return sha256_of(file)


def listing(folder: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    """Yield every object below a URL, in order, with the folders between."""
    with remote(folder) as (system, path):
        root = path.rstrip("/")
        for name in sorted(system.find(path, maxdepth=None if recursive else 1)):
            rest = name[len(root) :]
            yield folder.rstrip("/") + rest, rest.strip("/").rpartition("/")[0]


def is_folder(name: str) -> bool:
    """Tell whether a place holds other files."""
    if not is_url(name):
        return os.path.isdir(name)  # noqa: PTH112
    with remote(name) as (system, path):
        return bool(system.isdir(path))


def is_pattern(name: str) -> bool:
    """Tell whether a name may stand for several files."""
    return _WILD.search(name) is not None


def expand_pattern(pattern: str) -> list[str] | None:
    """Return the files that match a pattern with *, ? or [...]; None for a plain name."""
    if not is_pattern(pattern):
        return None
    if is_url(pattern):
        with remote(pattern) as (system, path):
            return [system.unstrip_protocol(name) for name in sorted(system.glob(path))]
    if os.path.lexists(pattern):
        return None  # a file of that very name
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207


def fixed_part(pattern: str) -> str:
    """Return the folder that a pattern's matches lie below."""
    wild = _WILD.search(pattern)
    return pattern[: wild.start() if wild else None].rpartition("/")[0]


def fetch(name: str, path: Path) -> None:
    """Copy what lies at a URL to a local path."""
    with remote(name) as (system, where):
        try:
            system.get_file(where, str(path))
        except FileNotFoundError as error:
            raise HtmdsepError("no such file; check the address") from error


def store(path: Path, name: str) -> None:
    """Copy a local file to a URL, where it appears whole."""
    with remote(name) as (system, where):
        system.makedirs(parent(where), exist_ok=True)
        system.put_file(str(path), where)


def write(data: bytes, name: str) -> None:
    """Let a URL hold these bytes, and nothing that was there before."""
    with remote(name) as (system, where):
        system.makedirs(parent(where), exist_ok=True)
        system.pipe_file(where, data)


def remove(name: str) -> None:
    """Remove an object, if it is there."""
    with remote(name) as (system, where), suppress(FileNotFoundError):
        system.rm_file(where)


@contextmanager
def remote(name: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system of a URL, and the path in it; what goes wrong there is one line.

    Raises HtmdsepError where the package for the URL's kind is not installed, and where the
    store refuses or cannot be reached.
    """
    try:
        from fsspec.core import url_to_fs

        yield url_to_fs(name)
    except ImportError as error:
        raise HtmdsepError(
            f"{name}: {error}; addresses need pip install 'htmdsep[cloud]', and for other stores "
            "than S3 their fsspec package (gcsfs, adlfs, ...)"
        ) from error
    except (FileNotFoundError, HtmdsepError):
        raise
    except _store_errors() as error:
        raise HtmdsepError(f"{name}: {' '.join(str(error).split()) or repr(error)}") from error


def _store_errors() -> tuple[type[Exception], ...]:
    """Return what a store's client raises; some have errors of their own, if they are loaded."""
    names = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    theirs = (getattr(sys.modules[module], name) for module, name in names if module in sys.modules)
    return (OSError, ValueError, *theirs)
