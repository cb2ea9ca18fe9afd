"""What a weights file holds, read without PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from htmdsep.config import NetworkConfig, config_from_dict
from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256

FORMAT = "htmdsep-1"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself."""

    name: str
    config: NetworkConfig
    licence: str
    provenance: dict[str, Any] = field(default_factory=dict)  # data, command, commit, ...


def read_info(path: Path) -> WeightsInfo:
    """Return what a weights file says of itself, without reading its tensors.

    Raises HtmdsepError for a file that is missing, is not safetensors or not of htmdsep.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        remedy = "; make weights of a checkpoint with htmdsep-train export"
        advice = remedy if path.suffix == ".pt" else ""
        raise HtmdsepError(f"cannot read the weights {path}: {error}{advice}") from error
    if metadata.get("format") != FORMAT:
        raise HtmdsepError(
            f"{path} is not a weights file of htmdsep (format {metadata.get('format')!r}, "
            f"expected {FORMAT!r}); import Keras files with --import-weights"
        )
    try:
        return WeightsInfo(
            name=metadata["name"],
            config=config_from_dict(json.loads(metadata["config"])),
            licence=metadata["licence"],
            provenance=json.loads(metadata["provenance"]),
        )
    except (KeyError, ValueError, HtmdsepError) as error:
        raise HtmdsepError(f"{path} has unusable metadata: {error}") from error


def count_parameters(path: Path) -> int:
    """Return how many trainable values a weights file holds, without reading them."""
    with safe_open(path, framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return sum(prod(shape) for name, shape in shapes.items() if ".running_" not in name)


def read_tensors(path: Path, expected_sha256: str | None = None) -> dict[str, np.ndarray]:
    """Return a weights file's tensors by name.

    Raises HtmdsepError where the hash differs from the expected one, and for values that are not
    finite.
    """
    if expected_sha256 is not None and (found := sha256(path)) != expected_sha256:
        raise HtmdsepError(
            f"{path} is damaged: its SHA-256 is {found}, expected {expected_sha256}; "
            "reinstall htmdsep or remove the file"
        )
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise HtmdsepError(f"{path} holds weights that are not finite")
    return tensors
