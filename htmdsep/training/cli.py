"""The command `htmdsep-train`: train, score, export, average."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from htmdsep.catalogue import find_weights
from htmdsep.choice import pick_device
from htmdsep.console import GroupedCommand, exit_on_error, prepare_process
from htmdsep.model import HTMDNetConfig
from htmdsep.training.arguments import Arguments
from htmdsep.training.averaging import average_weights
from htmdsep.training.export import export_weights
from htmdsep.training.logbook import write_rows
from htmdsep.training.options import (
    PATH,
    data_options,
    length_options,
    machine_options,
    recipe_options,
)
from htmdsep.training.perwindow import COLUMNS, Recorder
from htmdsep.training.prepare import prepare
from htmdsep.training.presets import PRESETS
from htmdsep.training.provenance import read_credits
from htmdsep.training.references import REFERENCES
from htmdsep.training.session import train_with
from htmdsep.training.validation import Estimator, score_estimates, separate_windows
from htmdsep.version import __version__
from htmdsep.weights_file import load_weights

PROGRAM = "htmdsep-train"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def command() -> None:
    """Turn a folder of music into weights for htmdsep."""


@command.command(cls=GroupedCommand)
@click.argument("folder", type=PATH)
@data_options
@recipe_options
@length_options
@machine_options
def run(**values: Any) -> None:
    """Train on FOLDER: MUSDB18, MUSDB18-HQ, or songs/, voices/ and accompaniment/.

    \b
    The slides' protocol on MUSDB18, loss variant (MSE, MAE):
      htmdsep-train run MUSDB18 --preset paper --loss mse-mae --out runs/mse-mae
    Our recipe on a folder of stems, two hours:
      htmdsep-train run my-stems --max-minutes 120 --out runs/mine
    Two processes (or GPUs):
      torchrun --nproc-per-node 2 -m htmdsep.training run my-stems --out runs/mine

    Checkpoints are last.pt, best-loss.pt and best-sdr.pt; log.csv has a row a validation.
    """
    with exit_on_error(PROGRAM):
        train_with(Arguments(**values))


@command.command()
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
def export(
    checkpoint: Path,
    weights: Path,
    name: str,
    licence: str,
    credits_file: Path,
    masking_only: bool,
) -> None:
    """Write CHECKPOINT as the half-precision file WEIGHTS, with where it comes from."""
    with exit_on_error(PROGRAM):
        digest = export_weights(
            checkpoint,
            weights,
            name=name,
            licence=licence,
            data=read_credits(credits_file),
            masking_only=masking_only,
        )
    click.echo(f"{digest}  {weights}")


@command.command()
@click.argument("weights", nargs=-1, metavar="WEIGHTS...")
@click.option("--out", type=PATH, required=True, help="The file to write.")
@click.option("--name", required=True, help="What the mean is called.")
def average(weights: tuple[str, ...], out: Path, name: str) -> None:
    """Write the mean of WEIGHTS, names or files of one network; often better than each."""
    with exit_on_error(PROGRAM):
        digest = average_weights(weights, out, name=name)
    click.echo(f"{digest}  {out}")


@command.command()
@click.argument("weights", metavar="WEIGHTS|mixture|oracle")
@click.argument("folder", type=PATH)
@click.option("--cache", type=PATH, default=Path("cache"), show_default=True)
@click.option("--held-out", metavar="NAME|FILE", help="As for run.")
@click.option("--device", default="auto", show_default=True)
@click.option("--per-window", type=PATH, metavar="FILE", help="CSV file with a row a window.")
def score(
    weights: str,
    folder: Path,
    cache: Path,
    held_out: str | None,
    device: str,
    per_window: Path | None,
) -> None:
    """Score WEIGHTS, a file or a name, on all validation windows of FOLDER, a JSON line a set.

    Instead of weights, mixture scores the mixture itself, and oracle a mask that knows
    the vocals: what lies under and over any weights. The rows of --per-window tell what a window
    is made of, and how far the vocals are over the music between 200 and 4000 Hz.
    """
    with exit_on_error(PROGRAM):
        sample_rate, estimator = _estimator(weights, device)
        prepared = prepare(folder, cache, held_out, sample_rate)
        rows = []
        for windows in prepared.windows():
            loss = PRESETS["ours"].trainer.loss
            recorder = Recorder(estimator, sample_rate)
            scores = score_estimates(recorder, windows, sample_rate, loss)
            described = {"set": windows.name, "windows": len(windows.windows)}
            click.echo(json.dumps({**described, **scores.as_dict()}))
            rows += recorder.rows(windows)
        if per_window is not None:
            write_rows(per_window, COLUMNS, rows)


def _estimator(weights: str, device: str) -> tuple[int, Estimator]:
    """Return what is scored, and the sample rate it works at."""
    if weights in REFERENCES:
        return HTMDNetConfig.sample_rate, REFERENCES[weights]
    place = torch.device(pick_device(device))
    located = find_weights(Path(weights) if Path(weights).is_file() else weights)
    network, info = load_weights(located.path, place, expected_sha256=located.sha256)
    return info.config.sample_rate, partial(separate_windows, network, place)


@command.command("sing")
@click.argument("speech", type=PATH)
@click.argument("out", type=PATH)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sing_command(speech: Path, out: Path, seed: int) -> None:
    """Turn SPEECH, a file or a folder, into sung melodies in the folder OUT, such as my/voices."""
    from htmdsep.training.sing import sing_files

    with exit_on_error(PROGRAM):
        click.echo(f"{sum(1 for _ in sing_files(speech, out, seed))} files in {out}")


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    prepare_process()
    command(prog_name=PROGRAM)
