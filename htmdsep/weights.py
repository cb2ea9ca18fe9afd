"""Weights files: safetensors whose metadata hold the config, the provenance and the licence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from htmdsep.atomic import atomic_path
from htmdsep.errors import HtmdsepError
from htmdsep.model import Network, NetworkConfig, build_network, config_from_dict, config_to_dict

FORMAT = "htmdsep-1"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself."""

    name: str
    config: NetworkConfig
    licence: str
    provenance: dict[str, Any] = field(default_factory=dict)  # data, command, commit, ...


def save_weights(path: Path, network: nn.Module, info: WeightsInfo, dtype: torch.dtype) -> str:
    """Write a network's weights as `dtype` and return the file's SHA-256."""
    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # training only
    }
    metadata = {
        "format": FORMAT,
        "name": info.name,
        "config": json.dumps(config_to_dict(info.config)),
        "licence": info.licence,
        "provenance": json.dumps(info.provenance),
    }
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        return sha256(temporary)


def read_info(path: Path) -> WeightsInfo:
    """Return what a weights file says of itself, without reading its tensors.

    Raises HtmdsepError for a file that is missing, is not safetensors or not of htmdsep.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise HtmdsepError(f"cannot read the weights {path}: {error}") from error
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


def load_weights(
    path: Path, device: str | torch.device = "cpu", expected_sha256: str | None = None
) -> tuple[Network, WeightsInfo]:
    """Build the network a weights file describes, in float32 and in evaluation mode.

    Raises HtmdsepError where the hash differs from the expected one, or where the tensors do not
    fit the config.
    """
    info = read_info(path)
    if expected_sha256 is not None and (found := sha256(path)) != expected_sha256:
        raise HtmdsepError(
            f"{path} is damaged: its SHA-256 is {found}, expected {expected_sha256}; "
            "reinstall htmdsep or remove the file"
        )
    network = build_network(info.config)
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    _load_state(network, state, path)
    return network.to(device).eval(), info


def _load_state(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = {
        name: tensor.shape
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    found = {name: tensor.shape for name, tensor in state.items()}
    if found != expected:
        odd = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise HtmdsepError(
            f"the tensors of {path} do not fit its config: {len(odd)} differ, first {odd[0]}"
        )
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise HtmdsepError(f"{path} holds weights that are not finite")
    network.load_state_dict(state, strict=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
