"""Weights files: from a checkpoint, or the mean of several, and where they come from."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

import torch

from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path, refuse_input
from htmdsep.networks.build import Network
from htmdsep.networks.config import ConvTasNetConfig, HTMDNetConfig, SpectralConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.state import averaged_network, read_checkpoint
from htmdsep.weights.catalogue import find_weights
from htmdsep.weights.file import WeightsInfo, save_weights, stored_tensors
from htmdsep.weights.graph import make_graph


def export_weights(
    checkpoint: Path,
    path: Path,
    name: str,
    licence: str,
    data: list[dict[str, str]],
    *,
    masking_only: bool = False,
) -> str:
    """Write a checkpoint's averaged weights in half precision; return the file's SHA-256.

    `data` are the credits of the audio, a dict a source. With `masking_only` the file holds
    HTMD-Net's masking network alone.
    """
    refuse_input(path, checkpoint)
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
    return _write(path, network, WeightsInfo(name, network.config, licence, provenance))


def masking_network(network: Network) -> HTMDNet:
    """Return HTMD-Net's masking network as a network of its own, which shares its tensors."""
    if not isinstance(network.config, HTMDNetConfig):
        raise HtmdsepError(
            f"only HTMD-Net has a masking network to write alone, not {network.config.architecture}"
        )
    shared = {field.name: getattr(network.config, field.name) for field in fields(ConvTasNetConfig)}
    alone = HTMDNet(ConvTasNetConfig(**shared))
    alone.masking = network.masking
    return alone


def average_weights(weights: Sequence[str], path: Path, *, name: str) -> str:
    """Write the mean of weights given by name or file in half precision; return its SHA-256.

    Provenance is that of the first, with the hashes, the licences and the credits of all.
    """
    if len(weights) < 2:
        raise HtmdsepError("an average takes two weights or more")
    located = [find_weights(one) for one in weights]
    for one in located:
        refuse_input(path, one.path)
    loaded = [one.load() for one in located]
    network, info = loaded[0]
    infos = [other for _, other in loaded]
    for given, other in zip(weights, infos, strict=True):
        if other.config != info.config:
            raise HtmdsepError(f"{given} is of another network than {weights[0]}; average its like")
    states = [one.state_dict() for one, _ in loaded]
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.stack([state[key] for state in states]).mean(dim=0))
    licences = dict.fromkeys(part for one in infos for part in one.licence.split(" AND "))
    credited = [row for one in infos for row in one.provenance.get("data", [])]
    data = [row for place, row in enumerate(credited) if row not in credited[:place]]
    owed = {"data": data} if data else {}
    provenance = {**info.provenance, **owed, "averaged": [one.hash() for one in located]}
    return _write(path, network, WeightsInfo(name, info.config, " AND ".join(licences), provenance))


def _write(path: Path, network: Network, info: WeightsInfo) -> str:
    """Write weights and, where ONNX Runtime can run their network, its graph beside them."""
    graph = path.with_suffix(".onnx")
    if path == graph:
        raise HtmdsepError(
            f"{path} is where the graph of its weights belongs; name a .safetensors file"
        )
    for name, value in stored_tensors(network).items():
        if not value.half().isfinite().all():
            raise HtmdsepError(
                f"{path} is not written: values of {name} are beyond half precision; train with a "
                "lower --learning-rate"
            )
    digest = save_weights(path, network, info, torch.float16)
    if not (isinstance(info.config, SpectralConfig) and info.config.denoiser_levels):
        with atomic_path(graph) as temporary:
            temporary.write_bytes(make_graph(network, path, digest))
    return digest


def describe_command(arguments: Sequence[str]) -> str:
    """Return the command of arguments, without the folders of paths: they are nobody's business."""
    parts = [word.rpartition("=") if word[:2] == "--" else ("", "", word) for word in arguments]
    words = [
        option + equals + (Path(value).name if Path(value).is_absolute() else value)
        for option, equals, value in parts
    ]
    return shlex.join(["htmdsep-train", *words])


def current_commit() -> str:
    """Return the commit that the package runs from, "unknown" outside a repository of its own."""
    root = Path(__file__).parents[2]  # not of what has it in an environment: --git-dir looks here
    words = ["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        told = check_output(["git", "--git-dir=.git", *words], cwd=root, stderr=DEVNULL, text=True)
    except (OSError, CalledProcessError):
        return "unknown"
    return told.strip()


def read_credits(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with at least the columns source and licence, a row a source of audio."""
    told, errors = f"cannot read the credits {path}", (OSError, UnicodeDecodeError, csv.Error)
    with explained(told, of=errors), path.open(newline="", encoding="utf-8-sig") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    if not rows or not {"source", "licence"} <= rows[0].keys():
        raise HtmdsepError(f"{path} must be a CSV file with the columns source and licence")
    for number, row in enumerate(rows, 1):
        if not row["source"] or not row["licence"] or None in row:
            raise HtmdsepError(
                f"{path}, row {number}: give a source, a licence and as many cells as columns"
            )
    return rows
