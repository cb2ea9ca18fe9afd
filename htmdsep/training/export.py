"""From a checkpoint to the weights file that htmdsep separates with."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from htmdsep.errors import HtmdsepError
from htmdsep.model import ConvTasNet, ConvTasNetConfig, HTMDNet, Network
from htmdsep.model.masking import MaskingNetwork
from htmdsep.training.state import averaged_network, read_checkpoint
from htmdsep.weights_file import WeightsInfo, save_weights


def export_weights(
    checkpoint: Path,
    path: Path,
    *,
    name: str,
    licence: str,
    data: list[dict[str, str]],
    masking_only: bool = False,
) -> str:
    """Write a checkpoint's averaged weights in half precision; return the file's SHA-256.

    `data` are the credits of the audio, a dict a source. With `masking_only` the file holds
    HTMD-Net's masking network, whose estimate is then the estimate. Raises HtmdsepError where
    the checkpoint cannot be read, and for a masking network of what is no HTMD-Net.
    """
    saved = read_checkpoint(checkpoint)
    provenance: dict[str, Any] = {
        "data": data,
        **saved["provenance"],
        "steps": saved["step"],
        "minutes": round(saved["seconds"] / 60, 1),
        "audio_seconds": round(saved["audio_seconds"]),
        "best": saved["best"],
    }
    network = averaged_network(saved)
    if masking_only:
        network = masking_network(network)
        provenance["part"] = "the masking network of an HTMD-Net"
    info = WeightsInfo(name, network.config, licence, provenance)
    return save_weights(path, network, info, torch.float16)


def masking_network(network: Network) -> ConvTasNet:
    """Return HTMD-Net's masking network as a network of its own, which shares its tensors."""
    if not isinstance(network, HTMDNet) or not isinstance(network.masking, MaskingNetwork):
        raise HtmdsepError(
            f"only HTMD-Net has a masking network to write alone, not {network.config.architecture}"
        )
    shared = {field.name: getattr(network.config, field.name) for field in fields(ConvTasNetConfig)}
    alone = ConvTasNet(ConvTasNetConfig(**shared))
    alone.masking = network.masking
    return alone
