"""The command `htmdsep-train`: train, score, export, average, label, sing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from htmdsep import __version__
from htmdsep.console import GroupedCommand, flags, options_from, run_program
from htmdsep.engines.choice import pick_device
from htmdsep.networks.config import NetworkConfig, SpectralConfig
from htmdsep.options import DEFAULT_WEIGHTS, RunOptions
from htmdsep.training.export import average_weights, export_weights, read_credits
from htmdsep.training.options import TrainOptions
from htmdsep.training.prepare import prepare
from htmdsep.training.recipe import OURS
from htmdsep.training.run import train_with
from htmdsep.training.validation import (
    REFERENCES,
    music_places,
    score_estimates,
    score_leak,
    separate_windows,
)
from htmdsep.weights.catalogue import find_weights

PATH = click.Path(path_type=Path)
PROGRAM = "htmdsep-train"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def command() -> None:
    """Turn a folder of music into weights for htmdsep."""


@command.command("run", cls=GroupedCommand)
@click.argument("folder", type=PATH)
@flags(TrainOptions)
def train_command(**values: Any) -> None:
    """Train on FOLDER: MUSDB18, MUSDB18-HQ, or songs/, voices/ and accompaniment/.

    \b
    The slides' protocol on MUSDB18, loss variant (MSE, MAE):
      htmdsep-train run MUSDB18 --preset paper --loss mse-mae --out runs/mse-mae
    Our recipe on a folder of stems, two hours:
      htmdsep-train run my-stems --max-minutes 120 --out runs/mine
    Two processes (or GPUs):
      torchrun --nproc-per-node 2 -m htmdsep.training run my-stems --out runs/mine

    Checkpoints are last.pt, best-loss.pt and best-sdr.pt; log.csv has a row a validation.

    Exit status: 0 the run has ended, 1 it failed, 2 wrong usage, 129, 130 or 143 interrupted,
    after last.pt was written.
    """
    ended_by = train_with(options_from(TrainOptions, values))
    if ended_by is not None:
        raise SystemExit(128 + ended_by)


@command.command("export")
@click.argument("checkpoint", type=PATH)
@click.argument("weights", type=PATH)
@click.option("--name", required=True, help="What the weights are called.")
@click.option("--licence", required=True, help="SPDX name of the weights' licence.")
@click.option(
    "--credits",
    "credits_file",
    type=PATH,
    required=True,
    help="CSV file of the audio's sources: columns source and licence, and any others.",
)
@click.option(
    "--masking-only",
    is_flag=True,
    help="Only HTMD-Net's masking network: faster, without what its denoiser adds.",
)
def export_command(
    checkpoint: Path, weights: Path, name: str, licence: str, credits_file: Path, masking_only: bool
) -> None:
    """Write CHECKPOINT as the half-precision file WEIGHTS, with where it comes from."""
    data = read_credits(credits_file)
    digest = export_weights(checkpoint, weights, name, licence, data, masking_only=masking_only)
    click.echo(f"{digest}  {weights}")


@command.command("average")
@click.argument("weights", nargs=-1, metavar="WEIGHTS...")
@click.option("--out", type=PATH, required=True, help="The file to write.")
@click.option("--name", required=True, help="What the mean is called.")
def average_command(weights: tuple[str, ...], out: Path, name: str) -> None:
    """Write the mean of WEIGHTS, names or files of one network; often better than each."""
    digest = average_weights(weights, out, name=name)
    click.echo(f"{digest}  {out}")


@command.command("score")
@click.argument("weights", metavar="WEIGHTS|mixture|oracle")
@click.argument("folder", type=PATH)
@flags(TrainOptions, only=("cache", "held_out", "device"))
def score_command(
    weights: str, folder: Path, cache: Path, held_out: str | None, device: str
) -> None:
    """Score WEIGHTS, a file or a name, on all validation windows of FOLDER, a JSON line a set.

    Ratios are medians over the windows, with quartiles (_lower, _upper) and means (_mean). Windows
    have as many channels as the network hears. Instead of weights, mixture scores the mixture
    itself, and oracle a mask that knows the vocals: what lies under and over any weights, in
    stereo. The set leak is held-out music in which nobody sings, and how many dB the vocals lie
    under it: the mean, what a tenth of the windows exceeds (_upper), the share above -20 dB.
    """
    config: NetworkConfig = SpectralConfig()
    if weights in REFERENCES:
        estimator = REFERENCES[weights]
    else:
        network, info = find_weights(weights).load(pick_device(device))
        config, estimator = info.config, partial(separate_windows, network)
    sample_rate = config.sample_rate
    prepared = prepare(folder, cache, held_out, config)
    for windows in prepared.windows():
        scores = score_estimates(estimator, windows, sample_rate, OURS.loss)
        click.echo(json.dumps({"set": windows.name, "windows": len(windows.windows), **scores}))
    if places := music_places(prepared.held_out, prepared.cached, sample_rate):
        click.echo(json.dumps({"set": "leak", **score_leak(estimator, places, sample_rate)}))


@command.command("label")
@click.argument("songs", type=PATH)
@click.argument("out", type=PATH)
@click.option("--weights", metavar="NAME|FILE", show_default=DEFAULT_WEIGHTS)
@flags(RunOptions, only=("shifts", "device", "threads"))
def label_command(songs: Path, out: Path, weights: str | None, **values: Any) -> None:
    """Separate SONGS, a file or a folder, into pairs to train on, in OUT, such as my/labels."""
    from htmdsep.training.label import label_songs

    options = options_from(RunOptions, values)
    made = list(label_songs(songs, out, weights, options))
    kept = made.count(False)
    click.echo(f"{len(made)} songs in {out}" + (f", {kept} of them from before" if kept else ""))


@command.command("sing")
@click.argument("speech", type=PATH)
@click.argument("out", type=PATH)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sing_command(speech: Path, out: Path, seed: int) -> None:
    """Turn SPEECH, a file or a folder, into sung melodies in the folder OUT, such as my/voices."""
    from htmdsep.training.sing import sing_files

    click.echo(f"{sum(1 for _ in sing_files(speech, out, seed))} files in {out}")


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    run_program(command, PROGRAM)
