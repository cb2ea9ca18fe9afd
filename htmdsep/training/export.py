"""From a checkpoint to the weights file that htmdsep separates with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from htmdsep.training.state import averaged_network, read_checkpoint
from htmdsep.weights import WeightsInfo, save_weights


def export_weights(
    checkpoint: Path, path: Path, *, name: str, licence: str, data: list[dict[str, str]]
) -> str:
    """Write a checkpoint's averaged weights in half precision; return the file's SHA-256.

    `data` are the credits of the audio, a dict a source. Raises HtmdsepError where the
    checkpoint cannot be read.
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
    info = WeightsInfo(name, network.config, licence, provenance)
    return save_weights(path, network, info, torch.float16)
