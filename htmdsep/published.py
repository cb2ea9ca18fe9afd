"""The weights that HTMD-Net's authors published, and their verified download.

Their repository (github.com/cgaroufis/HTMD-Net) states no licence, so these files are never part
of htmdsep: each user fetches them from their authors.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from tqdm import tqdm

from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path

_COMMIT = "8f9a2943c951ec990f18112d01e0619b0ee89113"
_MOST_BYTES = 200_000_000  # a file of 4.5 million float32 has 18.5 MB, 55 MB with Adam's state
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class PublishedWeights:
    """A Keras .h5 file of the authors, identified by git's hash of its contents."""

    name: str
    url: str
    git_blob: str  # SHA-1 of b"blob <size>\0" and the bytes, in hexadecimal
    licence: str = "none stated by the authors"


def _published(losses: str, git_blob: str) -> PublishedWeights:
    """Describe the network of a pair of losses: at the masked estimate, and at the estimate."""
    return PublishedWeights(
        f"htmdnet-{losses}",
        "https://raw.githubusercontent.com/cgaroufis/HTMD-Net/"
        f"{_COMMIT}/models/htmdnet_{losses}.h5",
        git_blob,
    )


PUBLISHED = (
    _published("mae-mae", "ddcc82e74d61b516aacd1e314838af8c600708f3"),
    _published("mse-mae", "4a4e8cf8e4d67cdd07f5377aafaf3f2af3b3c4b6"),
    _published("mse-mse", "fc49fb9643c07afa3c92f0b45620c96d48ddc3f5"),
)


def fetch(
    published: PublishedWeights,
    target: Path,
    *,
    timeout_seconds: float = 30.0,
    progress: bool = True,
) -> None:
    """Download a file to `target`, which appears only once its contents are verified.

    The time-out is that of each wait for the server. A bar is shown on standard error where that
    is a terminal and `progress` is set. Raises HtmdsepError for whatever keeps the file away.
    """
    try:
        with atomic_path(target) as temporary:
            with temporary.open("wb") as file:
                for block in _download(published, timeout_seconds, progress):
                    file.write(block)
            found = hash_git_blob(temporary)
            if found != published.git_blob:
                raise _failure(
                    published,
                    f"what came is another file than the published one (git blob {found}, "
                    f"expected {published.git_blob})",
                )
    except OSError as error:
        raise HtmdsepError(
            f"cannot write {target}: {error.strerror}; free some space or choose another folder"
        ) from error


def hash_git_blob(path: Path) -> str:
    """Return the hash that git gives to a file's contents."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _download(
    published: PublishedWeights, timeout_seconds: float, progress: bool
) -> Iterator[bytes]:
    """Yield the file's bytes; raise HtmdsepError unless as many come as the server announced."""
    try:
        with urllib.request.urlopen(published.url, timeout=timeout_seconds) as response:
            yield from _body(response, published, progress)
    except urllib.error.HTTPError as error:
        error.close()
        raise _failure(published, f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _failure(published, f"no answer within {timeout_seconds:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _failure(published, f"no answer within {timeout_seconds:g} s") from error
        raise _failure(published, f"there is no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failure(published, f"the connection broke off ({error})") from error


def _body(response: HTTPResponse, published: PublishedWeights, progress: bool) -> Iterator[bytes]:
    announced = response.headers.get("Content-Length", "")
    size = int(announced) if announced.isdecimal() else None
    received = 0
    with tqdm(
        total=size,
        desc=published.name,
        unit="B",
        unit_scale=True,
        disable=None if progress else True,  # None: hidden where standard error is no terminal
    ) as bar:
        while block := response.read(_BLOCK_BYTES):
            received += len(block)
            if max(received, size or 0) > _MOST_BYTES:
                raise _failure(published, f"the file is larger than {_MOST_BYTES / 1e6:g} MB")
            bar.update(len(block))
            yield block
    if size is not None and received != size:
        raise _failure(published, f"only {received} of {size} bytes came")


def _failure(published: PublishedWeights, cause: str) -> HtmdsepError:
    cause = " ".join(cause.split())  # the server's words may run over lines
    return HtmdsepError(
        f"cannot download {published.name}: {cause}; try again, or download {published.url} "
        f"by hand and import it with: htmdsep --import-weights FILE.h5 --name {published.name}"
    )
