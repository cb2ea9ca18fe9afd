"""Weights files: safetensors with config, provenance and licence in their metadata.

PyTorch is imported only to build and to save a network, so all else reads files without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path, sha256
from htmdsep.networks.config import NetworkConfig, config_from_dict, config_to_dict

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from htmdsep.networks.build import Network

FORMAT = "htmdsep-1"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself."""

    name: str
    config: NetworkConfig
    licence: str
    provenance: dict[str, Any] = field(default_factory=dict)  # data, command, commit, ...


def read_info(path: Path) -> WeightsInfo:
    """Return what a weights file says of itself, without reading its tensors."""
    metadata = read_header(path)[1].get("__metadata__", {})
    if metadata.get("format") != FORMAT:
        raise HtmdsepError(
            f"{path} is not a weights file of htmdsep (format {metadata.get('format')!r}, "
            f"expected {FORMAT!r}); import Keras files with --import-weights"
        )
    errors = (KeyError, TypeError, ValueError, RecursionError, HtmdsepError)
    with explained(f"{path} has unusable metadata", of=errors):
        return WeightsInfo(
            name=metadata["name"],
            config=config_from_dict(json.loads(metadata["config"])),
            licence=metadata["licence"],
            provenance=dict(json.loads(metadata["provenance"])),
        )


def count_parameters(path: Path) -> int:
    """Return how many trainable values a weights file holds, without reading them."""
    _, header = read_header(path)
    tensors = [
        header[name] for name in header if name != "__metadata__" and ".running_" not in name
    ]
    try:
        return sum(prod(tensor["shape"]) for tensor in tensors)
    except (KeyError, TypeError) as error:
        raise HtmdsepError(f"cannot read the weights {path}: no shape of a tensor") from error


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Return where a safetensors file's tensors begin, and what is said of them before that.

    The form is 8 bytes of length, then JSON. Their package would import NumPy for it, and
    `--list-models` shall answer at once.
    """
    remedy = "make weights of a checkpoint with htmdsep-train export"
    advice = remedy if path.suffix == ".pt" else ""
    errors = (OSError, ValueError, RecursionError)
    with explained(f"cannot read the weights {path}", advice, of=errors):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < path.stat().st_size else None
        if not isinstance(header, dict) or not all(isinstance(v, dict) for v in header.values()):
            raise ValueError("it is no safetensors file")
        return 8 + length, header


def save_weights(path: Path, network: nn.Module, info: WeightsInfo, dtype: torch.dtype) -> str:
    """Write a network's weights as `dtype` and return the file's SHA-256, the same every time."""
    from safetensors.torch import save

    tensors = {
        name: tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in stored_tensors(network).items()
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
    """Sort a file's metadata, which come in an order of chance: JSON, after 8 bytes of length."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_weights(path: Path, device: str | torch.device = "cpu") -> tuple[Network, WeightsInfo]:
    """Build the network a weights file describes, in float32 and in evaluation mode.

    Raises HtmdsepError for a file that cannot be read, and for tensors that do not fit the config
    or are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from htmdsep.networks.build import build_network

    info = read_info(path)
    errors = (OSError, SafetensorError)
    with explained(f"cannot read the weights {path}", "get them again", of=errors):
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise HtmdsepError(f"{path} holds weights that are not finite")
    network = build_network(info.config)
    expected = {name: tensor.shape for name, tensor in stored_tensors(network).items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    if odd := sorted({name for name, _ in expected.items() ^ found.items()}):
        raise HtmdsepError(
            f"the tensors of {path} do not fit its config: {len(odd)} differ, first {odd[0]}"
        )
    network.load_state_dict(state, strict=False)
    return network.to(device).eval(), info


def stored_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state less what only training needs."""
    state = network.state_dict()
    return {name: state[name] for name in state if not name.endswith("num_batches_tracked")}
