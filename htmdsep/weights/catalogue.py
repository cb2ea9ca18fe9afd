"""Weights by name: those that come with the package, those in the cache, those to be downloaded.

The repository of HTMD-Net's authors (github.com/cgaroufis/HTMD-Net) states no licence, so the
weights they published are never part of htmdsep: each user fetches them from their authors.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path, sha256, write_text
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.weights.file import WeightsInfo, load_weights, save_weights

if TYPE_CHECKING:
    import torch

    from htmdsep.networks.build import Network

CACHE_VARIABLE = "HTMDSEP_CACHE"  # of the environment: a folder to use in place of the user's
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class WeightsFile:
    """A weights file, and the SHA-256 it must have (None for a path the user gave)."""

    name: str
    path: Path
    sha256: str | None

    def hash(self) -> str:
        """Return the file's SHA-256."""
        return self.sha256 or sha256(self.path)

    def check(self) -> str:
        """Return the file's SHA-256 as it is; raise HtmdsepError where it is not the recorded."""
        found = sha256(self.path)
        if self.sha256 not in (None, found):
            raise HtmdsepError(
                f"{self.path} is damaged: its SHA-256 is {found}, expected {self.sha256}; "
                "reinstall htmdsep or remove the file"
            )
        return found

    def load(self, device: str | torch.device = "cpu") -> tuple[Network, WeightsInfo]:
        """Return the network of the file, if that is the recorded one; see `load_weights`."""
        if self.sha256 is not None:
            self.check()
        return load_weights(self.path, device)


@dataclass(frozen=True)
class PublishedWeights:
    """A Keras .h5 file of the authors, identified by git's hash of its contents."""

    name: str
    url: str
    git_blob: str  # SHA-1 of b"blob <size>\0" and the bytes, in hexadecimal
    licence: str = "none stated by the authors"


PUBLISHED = tuple(
    PublishedWeights(
        f"htmdnet-{losses}",  # at the masked estimate, and at the estimate
        "https://raw.githubusercontent.com/cgaroufis/HTMD-Net/"
        f"8f9a2943c951ec990f18112d01e0619b0ee89113/models/htmdnet_{losses}.h5",
        git_blob,
    )
    for losses, git_blob in (
        ("mae-mae", "ddcc82e74d61b516aacd1e314838af8c600708f3"),
        ("mse-mae", "4a4e8cf8e4d67cdd07f5377aafaf3f2af3b3c4b6"),
        ("mse-mse", "fc49fb9643c07afa3c92f0b45620c96d48ddc3f5"),
    )
)


def bundled_folder() -> Path:
    """Return the folder of the weights of the package: inside it, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "weights"


def cache_folder(part: str = "weights") -> Path:
    """Return the folder of imported and downloaded weights, or another part of the cache.

    Raises HtmdsepError where the user has no home and HTMDSEP_CACHE names no folder.
    """
    if root := os.environ.get(CACHE_VARIABLE):
        return Path(root) / part
    from platformdirs import user_cache_path

    remedy = f"name a folder with {CACHE_VARIABLE}"
    with explained("there is no place for a cache", remedy, of=RuntimeError):
        return user_cache_path("htmdsep", appauthor=False) / part


def list_weights() -> Iterator[Path]:
    """Yield the weights files of the package, then of the cache, which is looked for only then."""
    for folder in (bundled_folder, cache_folder):
        place, remedy = folder(), f"mend the folder, or name another with {CACHE_VARIABLE}"
        with explained(f"cannot read the weights in {place}", remedy), suppress(FileNotFoundError):
            yield from sorted(path for path in place.iterdir() if path.suffix == ".safetensors")


def find_weights(weights: str | Path | None) -> WeightsFile:
    """Find weights by path, by name, or the default; download published ones that are named."""
    if isinstance(weights, Path) or (weights is not None and weights.endswith(".safetensors")):
        path = Path(weights)
        if not path.is_file():
            raise HtmdsepError(f"there is no weights file {path}")
        return WeightsFile(path.stem, path, None)
    name = weights or DEFAULT_WEIGHTS
    for path in list_weights():
        if path.stem == name:
            return WeightsFile(name, path, recorded_hash(path))
    if Path(name).is_file():
        return WeightsFile(Path(name).stem, Path(name), None)
    return _download(name)


def import_weights(path: Path, name: str | None = None) -> WeightsFile:
    """Convert a Keras file of the authors' layout into the cache, where its name finds it."""
    from htmdsep.weights.keras import convert_keras

    name = name or path.stem
    if not _NAME.fullmatch(name):
        raise HtmdsepError(f"{name!r} cannot be a name; use letters, digits, '.', '_' and '-'")
    if (bundled_folder() / f"{name}.safetensors").exists():
        raise HtmdsepError(f"the name {name!r} is taken; choose another with --name")
    network = convert_keras(path)
    return _save(name, network, "as the file's authors state", {"imported_from": path.name})


def _download(name: str) -> WeightsFile:
    """Download published weights into the cache, as our own format."""
    from htmdsep.weights.keras import convert_keras

    published = next((one for one in PUBLISHED if one.name == name), None)
    if published is None:
        known = sorted({path.stem for path in list_weights()} | {one.name for one in PUBLISHED})
        raise HtmdsepError(f"there are no weights named {name!r}; known: {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        target = Path(folder) / f"{name}.h5"
        target.write_bytes(download_published(published))
        network = convert_keras(target)
    provenance = {"published_at": published.url, "git_blob": published.git_blob}
    return _save(name, network, published.licence, provenance)


def download_published(published: PublishedWeights, *, timeout_seconds: float = 30.0) -> bytes:
    """Return a published file, verified; the time-out is that of each wait for the server."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    from tqdm import tqdm

    content = io.BytesIO()
    try:
        with urlopen(published.url, timeout=timeout_seconds) as response:
            announced = response.headers.get("Content-Length", "")
            size = int(announced) if announced.isdecimal() else None
            # disable=None: no bar where standard error is no terminal
            bar = tqdm.wrapattr(response, "read", size, desc=published.name, disable=None)
            with bar as counted:
                shutil.copyfileobj(counted, content)
        found = hash_git_blob(content.getvalue())
        cause = f"what came is another file (git blob {found})"
    except (OSError, HTTPException) as error:
        found, cause = "", " ".join(str(error).split())  # the server's words may run over lines
        if isinstance(error, HTTPError):
            error.close()
    if found != published.git_blob:
        raise HtmdsepError(
            f"cannot download {published.name}: {cause}; try again, or download {published.url} "
            f"by hand and import it with: htmdsep --import-weights FILE.h5 --name {published.name}"
        )
    return content.getvalue()


def hash_git_blob(content: bytes) -> str:
    """Return the hash that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _save(name: str, network: Network, licence: str, provenance: dict[str, Any]) -> WeightsFile:
    """Save a network into the cache in full precision, its hash beside it."""
    import torch

    path = cache_folder() / f"{name}.safetensors"
    info = WeightsInfo(name, network.config, licence, provenance)
    with atomic_path(path) as temporary:
        digest = save_weights(temporary, network, info, torch.float32)
        record_hash(path, digest)  # before they appear: weights without one are an error
    return WeightsFile(name, path, digest)


def record_hash(path: Path, digest: str) -> None:
    """Write a file's SHA-256 beside it, in the form that `sha256sum --check` reads."""
    write_text(_hash_path(path), f"{digest}  {path.name}\n")


def recorded_hash(path: Path) -> str:
    """Return the SHA-256 beside a weights file; raise HtmdsepError where there is none."""
    try:
        return _hash_path(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise HtmdsepError(
            f"{path} has no recorded SHA-256 beside it; reinstall htmdsep or remove the file"
        ) from error


def _hash_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
