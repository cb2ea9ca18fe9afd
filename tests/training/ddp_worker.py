"""One of two processes that take a few steps together, from a seed that both share.

Usage: ddp_worker.py OUTPUT; ranks and address come from the environment, as torchrun gives them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from htmdsep.networks.build import initialise_like_keras
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.batches import Batch
from htmdsep.training.losses import VARIANTS
from htmdsep.training.processes import World, join_processes
from htmdsep.training.recipe import PAPER
from htmdsep.training.state import RunState, fresh_state, save_state
from htmdsep.training.trainer import TrainingRun, train

CONFIG = HTMDNetConfig(
    segment_length=1024,
    encoder_channels=16,
    bottleneck_channels=8,
    block_channels=16,
    blocks=2,
    denoiser_levels=3,
    denoiser_channels=4,
    lstm_size=8,
    lstm_layers=1,
)
RECIPE = replace(
    PAPER,
    loss=VARIANTS["mse-mae"],
    learning_rate=1.0,
    clip_norm=0.05,
    average_decay=0.5,
    steps=4,
    masking_share=0.5,
    keep_norms=True,  # statistics are each process's own, and two halves are not the whole
    workers=0,
)


@dataclass(frozen=True)
class Halves:
    """Rank r's rows of a batch of four; alone, all of them."""

    world: World

    def batch(self, step: int) -> Batch:
        both = torch.randn(2, 4, 1, 1024, generator=torch.Generator().manual_seed(step)) / 3
        rows = slice(self.world.rank, None, self.world.size)
        return both[0, rows], both[1, rows]


def initial_network() -> HTMDNet:
    """Return the network that every process begins with."""
    network = HTMDNet(CONFIG)
    initialise_like_keras(network, torch.Generator().manual_seed(5))
    return network


def run(folder: Path, world: World) -> RunState:
    """Train four steps, two of them the masking network alone; only the main one saves."""
    torch.set_num_threads(1)
    network = initial_network()
    state = fresh_state(network, RECIPE, {})
    # Adam would make much of the last bits of gradients that are next to nothing.
    state.optimiser = torch.optim.SGD(network.parameters(), momentum=0.5)  # type: ignore[assignment]
    train(
        TrainingRun(
            state=state,
            batches=Halves(world),
            windows=(),
            recipe=RECIPE,
            folder=folder,
            report=lambda _row: None,
            forward=world.parallel(network),
            masking=world.parallel(network.masking),
            world=world,
        )
    )
    return state


if __name__ == "__main__":
    output = Path(sys.argv[1])
    with join_processes(torch.device("cpu")) as joined:
        ended = run(output, joined)
        save_state(output / f"rank{joined.rank}.pt", ended)
