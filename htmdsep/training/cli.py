"""The command `htmdsep-train`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from tqdm import tqdm

from htmdsep.errors import HtmdsepError
from htmdsep.model import build_network, initialise_like_keras
from htmdsep.training.ema import MovingAverage
from htmdsep.training.logbook import append_row
from htmdsep.training.mixing import MixSettings, RandomMixes
from htmdsep.training.prepare import prepare
from htmdsep.training.presets import PRESETS, network_config, with_trainer
from htmdsep.training.state import RunState, read_checkpoint, restore
from htmdsep.training.trainer import train
from htmdsep.training.world import join_world


@click.group()
def main() -> None:
    """Turn a folder of music into weights for htmdsep."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path("cache"))
@click.option("--held-out", type=click.Path(path_type=Path), required=True)
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="ours")
@click.option(
    "--architecture",
    type=click.Choice(["htmdnet", "convtasnet", "waveunet"]),
    default="htmdnet",
)
@click.option("--max-minutes", type=float)
@click.option("--seed", type=int, default=0)
@click.option("--threads", type=int)
@click.option("--resume", is_flag=True)
def run(
    folder: Path,
    out: Path,
    cache: Path,
    held_out: Path,
    preset: str,
    architecture: str,
    max_minutes: float | None,
    seed: int,
    threads: int | None,
    resume: bool,
) -> None:
    """Train on FOLDER."""
    if threads:
        torch.set_num_threads(threads)
    chosen = with_trainer(PRESETS[preset], max_minutes=max_minutes)
    config = network_config(chosen, architecture)  # type: ignore[arg-type]
    device = torch.device("cpu")
    try:
        with join_world(device) as world:
            _run(world, chosen, config, folder, out, cache, held_out, seed, resume)
    except HtmdsepError as error:
        raise click.ClickException(str(error)) from error


def _run(world, chosen, config, folder, out, cache, held_out, seed, resume):
    prepared = prepare(folder, cache, held_out, config.sample_rate)
    torch.manual_seed(seed)
    network = build_network(config)
    initialise_like_keras(network, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.Adam(network.parameters(), betas=chosen.betas)
    state = RunState(
        network, MovingAverage(network, chosen.average_decay), optimiser, {"seed": seed}
    )
    if resume:
        restore(state, read_checkpoint(out / "last.pt"))
    mixes = RandomMixes(
        prepared.sources(),
        MixSettings(),
        config.sample_rate,
        config.segment_length,
        chosen.batch_size,
        seed,
        world.rank,
    )

    def report(row: dict[str, float]) -> None:
        append_row(out / "log.csv", row)
        tqdm.write(str(row), file=sys.stderr)

    windows = prepared.windows(config.sample_rate) if world.is_chief else []
    for one in windows:
        print(one.name, one.mixtures.shape, file=sys.stderr)
    train(
        state,
        mixes,
        windows,
        chosen.trainer,
        out,
        report,
        forward=world.parallel(network),
        world=world,
    )


if __name__ == "__main__":
    main()
