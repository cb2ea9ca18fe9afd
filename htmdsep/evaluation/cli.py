"""The command `htmdsep-evaluate`: score, tabulate, and draw."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from htmdsep.errors import HtmdsepError
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.terminal import begin, errors_told
from htmdsep.version import __version__

PATH = click.Path(path_type=Path)
SETTINGS = {"mono": ("mono",), "native": ("native",), "both": ("mono", "native")}


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend, missing extras too, into a message and exit status 1."""
    with errors_told("htmdsep-evaluate"):
        try:
            yield
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in ("scipy", "webrtcvad", "matplotlib"):
                raise
            raise HtmdsepError(f"{error.name} is missing: pip install 'htmdsep[eval]'") from error


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def command() -> None:
    """Measure singing-voice separation, and print the slides' tables with our figures."""


@command.command()
@click.argument("folder", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for scores, tables and pictures.")
@click.option(
    "--weights",
    multiple=True,
    metavar="[LABEL=]NAME|FILE",
    help=f"Weights to evaluate; repeat for more.  [default: {DEFAULT_WEIGHTS}]",
)
@click.option(
    "--estimates",
    multiple=True,
    metavar="[LABEL=]FOLDER",
    help="Another program's <title>/vocals.* and, if it has it, accompaniment.*; repeatable.",
)
@click.option("--songs", "patterns", multiple=True, metavar="PATTERN", help="Only these titles.")
@click.option(
    "--subset",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="Of MUSDB18.",
)
@click.option(
    "--setting",
    type=click.Choice(sorted(SETTINGS)),
    default="both",
    show_default=True,
    help="mono: 22 050 Hz mono, as the slides. native: the input's own rate and channels.",
)
@click.option(
    "--masked/--no-masked", default=True, help="HTMD-Net's intermediate estimate, too.  [default]"
)
@click.option(
    "--bounds/--no-bounds", default=True, help="The mixture and two oracles, too.  [default]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--segment-seconds",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    help="Segments of the slides' procedure.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Songs at once."
)
@click.option(
    "--excerpt",
    "excerpts",
    multiple=True,
    metavar="TITLE@START+SECONDS",
    help="What to draw; twice for two pictures.  [default: where singing comes and goes]",
)
@click.option("--runtime/--no-runtime", default=True, help="Time the architectures.  [default]")
def run(excerpts: tuple[str, ...], setting: str, **values: Any) -> None:
    """Evaluate on FOLDER: MUSDB18, MUSDB18-HQ, or songs as <title>/{vocals,accompaniment}.*.

    \b
    htmdsep-evaluate run MUSDB18 --out results --weights htmdnet-mse-mae
    htmdsep-evaluate run my-songs --out results --weights mine.safetensors --estimates demucs=out/

    Writes summary.md, summary.json, boxplots, pictures of two excerpts and a CSV file a system and
    song. What has been scored is not scored again: a run that was interrupted goes on, and systems
    can be added.

    Exit status: 0 all done, 1 something failed, 2 wrong usage, 129, 130 or 143 interrupted.
    """
    with _told():
        from htmdsep.evaluation.excerpts import parse_excerpt
        from htmdsep.evaluation.session import Plan, run_evaluation

        if not (values["weights"] or values["estimates"]):
            values["weights"] = (DEFAULT_WEIGHTS,)
        chosen = tuple(parse_excerpt(text) for text in excerpts)
        plan = Plan(excerpts=chosen, settings=SETTINGS[setting], **values)  # type: ignore[arg-type]
        failures = run_evaluation(plan)
    for failure in failures:
        click.echo(f"htmdsep-evaluate: {failure}", err=True)
    click.echo(plan.out / "summary.md")
    sys.exit(1 if failures else 0)


@command.command()
@click.argument("results", type=PATH)
def tables(results: Path) -> None:
    """Write the tables and boxplots of RESULTS anew, from its scores."""
    with _told():
        from htmdsep.evaluation.session import write_tables

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
def runtime(out: Path, devices: tuple[str, ...], rounds: int | None) -> None:
    """Time the three architectures in turn: Results III."""
    with _told():
        from htmdsep.evaluation.session import write_runtime

        text = write_runtime(out, devices, rounds)
    click.echo(text)


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    begin()
    # Matrices of this size are factored faster by one thread: 30 instead of 430 ms each on two
    # busy cores. Songs' processes inherit this.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    command()
