"""The command line's flags for batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from htmdsep.options import DEFAULT_RETRIES, PLACES_TO_RUN

Command = Callable[..., Any]


def batch_flags(command: Command) -> Command:
    """Add the flags of batches to a command."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


_FLAGS = (
    click.option(
        "--from",
        "list_file",
        metavar="FILE",
        help="Take inputs from a file, one a line, or from a manifest; - for standard input.",
    ),
    click.option(
        "--base",
        metavar="DIR",
        help="Mirror the folders below DIR, however the inputs are named.",
    ),
    click.option(
        "--resume",
        "existing",
        flag_value="resume",
        help="Go on with a batch: pass over what its manifest proves done, redo what changed.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        default=DEFAULT_RETRIES,
        show_default=True,
        metavar="N",
        help="How often --resume tries again what failed.",
    ),
    click.option(
        "--verify",
        is_flag=True,
        help="With --resume: read all bytes, whatever sizes and times say.",
    ),
    click.option(
        "--shard",
        metavar="I/N",
        help="Do one of N parts of about equal duration, as array jobs do.",
    ),
    click.option(
        "--on",
        "run_on",
        type=click.Choice(PLACES_TO_RUN),
        default="local",
        show_default=True,
        help="Run in this process, or on a Ray cluster (or Ray on this machine).",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="The cluster's address, or auto.  [default: $RAY_ADDRESS, else this machine]",
    ),
    click.option(
        "--actor-cpus",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        metavar="N",
        help="CPU cores of a Ray worker.",
    ),
    click.option(
        "--actor-gpus",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        metavar="N",
        help="GPUs, or the share of one, of a Ray worker.",
    ),
    click.option(
        "--report", "report_on", metavar="DIR", help="Sum up the manifests of a folder, and exit."
    ),
    click.option(
        "--merge-manifests",
        "merge_in",
        metavar="DIR",
        help="Make one manifest of those of the shards in a folder, and exit.",
    ),
)
