"""The command `htmdsep-bench`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from htmdsep.options import ENGINES, EngineName, Precision
from htmdsep.terminal import begin, errors_told
from htmdsep.version import __version__

PRECISIONS = ("fp32", "bf16")  # of the CPU
SEGMENTS = (0.74, 1.49, 3.0, 10.0)  # seconds


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "song",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True),
)
@click.option("-n", "--name", help="Weights by name.  [default: those of htmdsep]")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, resolve_path=True),  # the command runs in another folder
    help="Weights from a file.",
)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Of each case.")
@click.option(
    "--segment",
    "segments",
    type=click.FloatRange(0, 600, min_open=True),
    multiple=True,
    default=SEGMENTS,
    show_default=True,
    help="Segment length in seconds; may be repeated.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    default=("fp32",),
    show_default=True,
    help="May be repeated.",
)
@click.option(
    "--engine",
    "engines",
    type=click.Choice(ENGINES),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="May be repeated; numpy has no bf16.",
)
@click.option("--threads", type=click.IntRange(1), help="Of the processor.  [default: all cores]")
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Length of the built-in song, where no SONG is given.",
)
@click.option(
    "--only", type=click.Choice(["network", "program"]), help="Only one half of the benchmark."
)
@click.option(
    "--vs",
    "rivals",
    multiple=True,
    metavar="COMMAND",
    help="Time another command on the same song, too; {song} and {out} are filled in.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.version_option(__version__, prog_name="htmdsep-bench")
def command(
    song: Path | None,
    name: str | None,
    weights: Path | None,
    runs: int,
    segments: tuple[float, ...],
    precisions: tuple[Precision, ...],
    engines: tuple[EngineName, ...],
    threads: int | None,
    seconds: float,
    only: Literal["network", "program"] | None,
    rivals: tuple[str, ...],
    as_json: bool,
) -> None:
    """Time the network alone, and htmdsep as a whole on SONG (or on a built-in one), on the CPU.

    Every case runs in turn with the others, and medians are shown. The yardstick is this
    machine's speed at multiplying large matrices.
    """
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # the commands inherit it
    from htmdsep.bench.network import Way
    from htmdsep.bench.report import Plan, measure, show

    ways = [
        Way(precision, engine)
        for precision in precisions
        for engine in engines
        if (precision, engine) != ("bf16", "onnx")
    ]
    if not ways:
        raise click.UsageError("onnx has no bf16; give --engine auto, or --precision fp32, too")
    plan = Plan(
        song,
        seconds,
        weights or name,
        segments,
        tuple(ways),
        runs,
        network=only != "program",
        program=only != "network",
        rivals=rivals,
    )
    with errors_told("htmdsep-bench"):
        findings = measure(plan)
    click.echo(json.dumps(asdict(findings)) if as_json else show(findings))


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    begin()
    command()
