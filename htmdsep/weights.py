"""Weights files and PyTorch: safetensors with config, provenance and licence in their metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from htmdsep.config import config_to_dict
from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path, sha256
from htmdsep.model import Network, build_network
from htmdsep.weightsfile import FORMAT, WeightsInfo, read_info, read_tensors


def save_weights(path: Path, network: nn.Module, info: WeightsInfo, dtype: torch.dtype) -> str:
    """Write a network's weights as `dtype` and return the file's SHA-256, the same every time."""
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
        temporary.write_bytes(_in_order(data))
        return sha256(temporary)


def _in_order(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which come in an order of chance.

    The format: the header's length in 8 bytes, the header in JSON, which blanks may follow to a
    multiple of 8, the tensors.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(
    path: Path, device: str | torch.device = "cpu", expected_sha256: str | None = None
) -> tuple[Network, WeightsInfo]:
    """Build the network a weights file describes, in float32 and in evaluation mode.

    Raises HtmdsepError where the hash differs from the expected one, or where the tensors do not
    fit the config.
    """
    info = read_info(path)
    tensors = read_tensors(path, expected_sha256)
    network = build_network(info.config)
    state = {name: torch.from_numpy(tensor).float() for name, tensor in tensors.items()}
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
    network.load_state_dict(state, strict=False)
