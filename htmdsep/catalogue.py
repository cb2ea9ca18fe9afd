"""Weights by name: those that come with the package, and those in the user's cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path
from htmdsep.options import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from htmdsep.model import Network

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Located:
    """A weights file, and the SHA-256 it must have (None for a path the user gave)."""

    name: str
    path: Path
    sha256: str | None

    def hash(self) -> str:
        """Return the file's SHA-256."""
        from htmdsep.files import sha256

        return self.sha256 or sha256(self.path)


def bundled_folder() -> Path:
    """Return the folder of the weights that come with htmdsep.

    In an installed package it lies inside; in a checkout or an editable install beside it.
    """
    inside = Path(__file__).parent / "bundled"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "weights"


def cache_folder() -> Path:
    """Return the folder of imported and fetched weights, which may not exist yet."""
    return user_cache_path("htmdsep", appauthor=False) / "weights"


def available() -> Iterator[Located]:
    """Yield every weights file of the package, then of the cache, by name."""
    for folder in (bundled_folder(), cache_folder()):
        for path in sorted(folder.glob("*.safetensors")):
            yield Located(path.stem, path, _recorded_hash(path))


def locate(weights: str | Path | None) -> Located:
    """Find weights by path, by name, or the default; fetch published ones that are named.

    Raises HtmdsepError where there are none of that name, and where a fetch fails.
    """
    if isinstance(weights, Path) or (weights is not None and weights.endswith(".safetensors")):
        path = Path(weights)
        if not path.is_file():
            raise HtmdsepError(f"there is no weights file {path}")
        return Located(path.stem, path, None)
    name = weights or DEFAULT_WEIGHTS
    for located in available():
        if located.name == name:
            return located
    if Path(name).is_file():
        return Located(Path(name).stem, Path(name), None)
    return _fetch(name)


def import_weights(path: Path, name: str | None = None) -> Located:
    """Convert a Keras file of the authors' layout into the cache, where its name finds it.

    Raises HtmdsepError for a name that is taken by bundled weights or is no plain file name.
    """
    from htmdsep.keras_import import convert_keras

    name = name or path.stem
    if not _NAME.fullmatch(name):
        raise HtmdsepError(f"{name!r} cannot be a name; use letters, digits, '.', '_' and '-'")
    if (bundled_folder() / f"{name}.safetensors").exists():
        raise HtmdsepError(f"the name {name!r} is taken; choose another with --name")
    network = convert_keras(path)
    return _cache(name, network, "as the file's authors state", {"imported_from": path.name})


def _fetch(name: str) -> Located:
    """Download published weights into the cache, as our own format."""
    from htmdsep.keras_import import convert_keras
    from htmdsep.published import PUBLISHED, fetch

    published = next((one for one in PUBLISHED if one.name == name), None)
    if published is None:
        known = sorted({one.name for one in available()} | {one.name for one in PUBLISHED})
        raise HtmdsepError(f"there are no weights named {name!r}; known: {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="htmdsep-") as folder:
        download = Path(folder) / f"{name}.h5"
        fetch(published, download)
        network = convert_keras(download)
    provenance = {"published_at": published.url, "git_blob": published.git_blob}
    return _cache(name, network, published.licence, provenance)


def _cache(name: str, network: Network, licence: str, provenance: dict[str, Any]) -> Located:
    """Save a network into the cache in full precision, its hash beside it."""
    import torch

    from htmdsep.weights import save_weights
    from htmdsep.weightsfile import WeightsInfo

    path = cache_folder() / f"{name}.safetensors"
    info = WeightsInfo(name, network.config, licence, provenance)
    with atomic_path(path) as temporary:
        digest = save_weights(temporary, network, info, torch.float32)
        record_hash(path, digest)  # before they appear: weights without one are an error
    return Located(name, path, digest)


def record_hash(path: Path, digest: str) -> None:
    """Write a file's SHA-256 beside it, in the form that `sha256sum --check` reads."""
    with atomic_path(_hash_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _recorded_hash(path: Path) -> str:
    try:
        return _hash_path(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError) as error:
        raise HtmdsepError(
            f"{path} has no recorded SHA-256 beside it; reinstall htmdsep or remove the file"
        ) from error


def _hash_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
