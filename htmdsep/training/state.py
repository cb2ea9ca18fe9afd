"""A run's state, and its exact form on disk."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from htmdsep.errors import HtmdsepError
from htmdsep.files import atomic_path
from htmdsep.model import Network, build_network, config_from_dict, config_to_dict
from htmdsep.training.ema import MovingAverage
from htmdsep.training.optimisers import Optimisers

FORMAT = "htmdsep-checkpoint-1"
COUNTERS = (
    "step", "validated_step", "seconds", "waited_seconds", "audio_seconds", "stale_validations",
    "reductions",
)  # fmt: skip


@dataclass
class RunState:
    """Everything a run needs to go on as if it had not been cut."""

    network: Network
    average: MovingAverage
    optimiser: Optimisers
    settings: dict[str, Any]  # plain values that must be the same on resume
    provenance: dict[str, Any] = field(default_factory=dict)  # command, commit, data
    step: int = 0
    validated_step: int = 0  # of the last validation
    seconds: float = 0.0  # of wall time spent so far
    waited_seconds: float = 0.0  # of them, for data
    audio_seconds: float = 0.0
    stale_validations: int = 0  # since the loss was best
    reductions: int = 0  # of the learning rate, on plateaus
    best: dict[str, float] = field(default_factory=dict)  # by "loss" and by "sdr"
    means: dict[str, float] = field(default_factory=dict)  # running, of training figures


def save_state(path: Path, state: RunState) -> None:
    """Write a checkpoint in one piece."""
    saved = {
        "format": FORMAT,
        "config": config_to_dict(state.network.config),
        "network": state.network.state_dict(),
        "average": state.average.network.state_dict(),
        "average_updates": state.average.updates,
        "optimiser": state.optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "settings": state.settings,
        "provenance": state.provenance,
        "best": state.best,
        "means": state.means,
        **{name: getattr(state, name) for name in COUNTERS},
    }
    with atomic_path(path) as temporary:
        torch.save(saved, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's values on the CPU; raise HtmdsepError where it is not one."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise HtmdsepError(f"cannot read the checkpoint {path}: {reason}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise HtmdsepError(f"{path} is not a checkpoint of htmdsep-train ({FORMAT})")
    return saved


def restore(state: RunState, saved: dict[str, Any]) -> None:
    """Put a checkpoint's values into a fresh state, and into PyTorch's random generator.

    Raises HtmdsepError where the checkpoint's run had other settings.
    """
    odd = sorted(
        name
        for name in state.settings.keys() | saved["settings"].keys()
        if state.settings.get(name) != saved["settings"].get(name)
    )
    if odd:
        raise HtmdsepError(
            f"the run to resume had other settings ({', '.join(odd)}); repeat its options, or "
            "train into another --out"
        )
    state.network.load_state_dict(saved["network"])
    state.average.network.load_state_dict(saved["average"])
    state.average.updates = saved["average_updates"]
    state.optimiser.load_state_dict(saved["optimiser"])
    torch.set_rng_state(saved["random"])
    state.best, state.means = dict(saved["best"]), dict(saved["means"])
    for name in COUNTERS:
        setattr(state, name, saved[name])


def averaged_network(saved: dict[str, Any]) -> Network:
    """Build the network of a checkpoint with its averaged weights, in evaluation mode."""
    network = build_network(config_from_dict(saved["config"]))
    network.load_state_dict(saved["average"])
    return network.eval()
