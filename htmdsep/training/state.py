"""A run's state, and its exact form on disk."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path
from htmdsep.networks.build import Network, build_network
from htmdsep.networks.config import config_from_dict, config_to_dict
from htmdsep.training.recipe import FREE_ON_RESUME, Recipe

FORMAT = "htmdsep-checkpoint-1"
# What is saved as it is, and gone on with
FIGURES = (
    "step", "validated_step", "skipped_steps", "seconds", "waited_seconds", "audio_seconds",
    "stale_validations", "best", "means",
)  # fmt: skip
# Devices with Adam in one piece: on a CPU, 5 ms a step of HTMD-Net instead of 16 (measured).
FUSED_ON = ("cpu", "cuda")
# What PyTorch and the archive's reader raise for what is no checkpoint
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, pickle.UnpicklingError,
    EOFError, OSError, RuntimeError, KeyError, ValueError,
)  # fmt: skip
POINTER = b"version https://git-lfs"  # how a Git LFS pointer begins


@dataclass
class RunState:
    """Everything a run needs to go on as if it had not been cut."""

    network: Network
    average: AveragedModel  # of the network's weights
    optimiser: torch.optim.Adam
    settings: dict[str, Any]  # plain values that must be the same on resume
    provenance: dict[str, Any] = field(default_factory=dict)  # command, commit, data
    step: int = 0
    validated_step: int = 0  # of the last validation
    skipped_steps: int = 0  # whose gradient was not finite
    seconds: float = 0.0  # of wall time spent so far
    waited_seconds: float = 0.0  # of them, for data
    audio_seconds: float = 0.0
    stale_validations: int = 0  # since the loss was best
    best: dict[str, float] = field(default_factory=dict)  # by "loss" and by "sdr"
    means: dict[str, float] = field(default_factory=dict)  # running, of training figures


def fresh_state(network: Network, recipe: Recipe, settings: dict[str, Any]) -> RunState:
    """Return the state of a run that begins with a network, which is on its device."""
    fused = next(network.parameters()).device.type in FUSED_ON
    optimiser = torch.optim.Adam(network.parameters(), betas=recipe.betas, fused=fused)
    return RunState(network, moving_average(network, recipe.average_decay), optimiser, settings)


def moving_average(network: Network, decay: float) -> AveragedModel:
    """Return the moving average of a network's weights and buffers, at first the network itself.

    The decay starts low, (1 + n) / (10 + n) after n updates, so that the first weights are soon
    forgotten.
    """

    def update(averages: list[Tensor], values: list[Tensor], _updates: Tensor | int) -> None:
        updates = int(average.n_averaged)  # on the CPU; what is passed may be on a GPU
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + updates) / (10 + updates)))
        else:
            torch._foreach_copy_(averages, values)

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
    average.eval().requires_grad_(False)
    return average


def save_state(path: Path, state: RunState) -> None:
    """Write a checkpoint in one piece.

    Raises HtmdsepError, and leaves what was there, where weights are not finite or the disk has no
    room.
    """
    network, average = state.network.state_dict(), state.average.module.state_dict()
    if not all(bool(value.isfinite().all()) for value in (*network.values(), *average.values())):
        raise HtmdsepError(
            f"the weights are no longer finite at step {state.step}, so that {path} is not "
            "written; begin anew with a lower --learning-rate"
        )
    saved = {
        "format": FORMAT,
        "config": config_to_dict(state.network.config),
        "network": network,
        "average": average,
        "average_updates": int(state.average.n_averaged),
        "optimiser": state.optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "settings": state.settings,
        "provenance": state.provenance,
        **{name: getattr(state, name) for name in FIGURES},
    }
    content = io.BytesIO()  # PyTorch does not say what kept it from writing a file
    torch.save(saved, content)
    remedy = "make room, then go on from the last one with --resume"
    with explained(f"cannot write the checkpoint {path}", remedy), atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's values on the CPU; raise HtmdsepError where it is not one."""
    with explained(f"cannot read the checkpoint {path}"):
        content = path.read_bytes()
    saved: Any = None
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise HtmdsepError(f"{path} is no checkpoint of htmdsep-train: {_what_it_is(content)}")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is None:  # PyTorch does not look at checksums
                saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UNREADABLE:
        pass
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise HtmdsepError(
            f"{path} is no checkpoint of htmdsep-train ({FORMAT}): an archive that is damaged, or "
            "that another program wrote"
        )
    return saved


def _what_it_is(content: bytes) -> str:
    if not content:
        return "it is empty"
    if content.startswith(POINTER):
        return "it is a Git LFS pointer; fetch the file itself with git lfs pull"
    if content.startswith(b"PK"):
        return "it is cut off"
    return f"it begins with {content[:16]!r}"


def restore(state: RunState, saved: dict[str, Any]) -> None:
    """Put a checkpoint's values into a fresh state, and into PyTorch's random generator.

    Raises HtmdsepError where the checkpoint's run had other settings.
    """
    theirs, ours = saved["settings"], state.settings
    odd = [
        f"{name} was {theirs.get(name)} and is {ours.get(name)}"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]
    if odd:
        raise HtmdsepError(
            f"the run to resume had other settings ({'; '.join(odd)}); repeat its options, of "
            f"which only {' and '.join(FREE_ON_RESUME)} may change, or train into another --out"
        )
    state.network.load_state_dict(saved["network"])
    state.average.module.load_state_dict(saved["average"])
    state.average.n_averaged.fill_(saved["average_updates"])
    state.optimiser.load_state_dict(saved["optimiser"])
    torch.set_rng_state(saved["random"])
    for name in FIGURES:
        setattr(state, name, saved[name])


def averaged_network(saved: dict[str, Any]) -> Network:
    """Build the network of a checkpoint with its averaged weights, in evaluation mode."""
    network = build_network(config_from_dict(saved["config"]))
    network.load_state_dict(saved["average"])
    return network.eval()
