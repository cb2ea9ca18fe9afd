"""The command `htmdsep-evaluate`: score, tabulate, and draw."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from htmdsep import __version__
from htmdsep.console import GroupedCommand, flags, options_from, run_program
from htmdsep.errors import explained
from htmdsep.evaluation.options import EvaluationOptions

PATH = click.Path(path_type=Path)
needing_extras = explained("evaluation needs pip install 'htmdsep[eval]'", of=ModuleNotFoundError)


@click.group(
    "htmdsep-evaluate",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def command() -> None:
    """Measure singing-voice separation, and print the slides' tables with our figures."""


@command.command("run", cls=GroupedCommand)
@click.argument("folder", type=PATH)
@flags(EvaluationOptions)
@needing_extras
def evaluate_command(**values: Any) -> None:
    """Evaluate on FOLDER: MUSDB18, MUSDB18-HQ, or songs as <title>/{vocals,accompaniment}.*.

    \b
    htmdsep-evaluate run MUSDB18 --out results --weights htmdnet-mse-mae
    htmdsep-evaluate run my-songs --out results --weights mine.safetensors --estimates demucs=out/

    Writes summary.md, summary.json, boxplots, pictures of two excerpts and a CSV file a system and
    song. What has been scored is not scored again: a run that was interrupted goes on, and systems
    can be added.

    Exit status: 0 all done, 1 something failed, 2 wrong usage, 129, 130 or 143 interrupted.
    """
    options = options_from(EvaluationOptions, values)
    from htmdsep.evaluation.run import run_evaluation

    failures = run_evaluation(options)
    for failure in failures:
        click.echo(f"htmdsep-evaluate: {failure}", err=True)
    click.echo(options.out / "summary.md")
    sys.exit(1 if failures else 0)


@command.command()
@click.argument("results", type=PATH)
@needing_extras
def tables(results: Path) -> None:
    """Write the tables and boxplots of RESULTS anew, from its scores."""
    from htmdsep.evaluation.run import write_tables

    write_tables(results)
    click.echo(results / "summary.md")


@command.command()
@click.option("--out", type=PATH, required=True, help="Folder of the results.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="auto (the CPU and, where there is one, the GPU), cpu, cuda, cuda:N; repeatable.",
)
@click.option("--rounds", type=click.IntRange(1), help="Timings of each network.  [default: 7]")
@needing_extras
def runtime(out: Path, devices: tuple[str, ...], rounds: int | None) -> None:
    """Time the three architectures in turn: Results III."""
    from htmdsep.evaluation.run import write_runtime

    text = write_runtime(out, devices, rounds)
    click.echo(text)


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    # Matrices of this size are factored faster by one thread: 30 instead of 430 ms each on two
    # busy cores. Songs' processes inherit this.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run_program(command)
