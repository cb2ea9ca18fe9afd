"""The command `htmdsep-bench`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from htmdsep import __version__
from htmdsep.bench.options import BenchOptions
from htmdsep.console import GroupedCommand, flags, options_from, run_program


@click.command(
    "htmdsep-bench",
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument(
    "song", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@flags(BenchOptions)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.version_option(__version__, prog_name="htmdsep-bench")
def command(as_json: bool, **values: Any) -> None:
    """Time the network alone, and htmdsep as a whole on SONG (or on a built-in one), on the CPU.

    Every case runs in turn with the others, and medians are shown. Beside them stands this
    machine's speed at multiplying large matrices.
    """
    options = options_from(BenchOptions, values)
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # the commands inherit it
    from htmdsep.bench.report import run_benchmark, show

    findings = run_benchmark(options)
    click.echo(json.dumps(asdict(findings)) if as_json else show(findings))


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    run_program(command)
