"""The command htmdsep: its flags, which of them do not go together, and what is called.

Everything heavy is imported once the arguments are known to be right.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from htmdsep import __version__
from htmdsep.cli.habits import SeparateCommand, normalise, two_stems
from htmdsep.console import F, GroupedOption, TimeRange, flags, options_from, run_program
from htmdsep.errors import ArgumentError, HtmdsepError, PlanError
from htmdsep.options import (
    CLUSTER,
    DEFAULT_WEIGHTS,
    FORMATS,
    NETWORK,
    STANDARD_STREAM,
    STEM_FILE,
    STEM_NAMES,
    BatchOptions,
    ClusterOptions,
    RunOptions,
)

INFORMATION = "Information"
PATH = click.Path(path_type=Path)
LATER = TimeRange(0, min_open=True)
PROGRESS = click.Choice(["bar", "json"])
PLACES = click.Choice(["local", "ray"])
NAMED = f"Weights by name (see --list-models).  [default: {DEFAULT_WEIGHTS}]"
IMPORT = "Convert published Keras weights for use by --name, and exit."
PAGE = "Write index.html beside the stems: a page to listen to them, compare and find faults."
FIRST = ("out", "stems", "recursive")  # in the help
REST = tuple(one.name for one in fields(BatchOptions) if one.name not in (*FIRST, "inputs"))


def own(*names: str, group: str = INFORMATION, **settings: Any) -> Callable[[F], F]:
    """Return the decorator for an option of the command alone."""
    return click.option(*names, cls=GroupedOption, group=group, **settings)


@click.command(
    "htmdsep",
    cls=SeparateCommand,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": normalise,
        "max_content_width": 100,
    },
)
@click.argument("inputs", nargs=-1, metavar="INPUTS...")
@click.option("-i", "--inputs", "more_inputs", multiple=True, hidden=True)
@click.option("-p", "--params-filename", expose_value=False, hidden=True, callback=two_stems)
@click.option("--two-stems", type=click.Choice(STEM_NAMES), expose_value=False, hidden=True)
@flags(BatchOptions, only=FIRST)
@own("-n", "--name", group="Options", metavar="NAME", help=NAMED)
@flags(RunOptions)
@own("--end", "end_seconds", group="Options", type=LATER, metavar="TIME", help="Where to stop.")
@own("--weights", group=NETWORK, type=PATH, metavar="FILE", help="Weights from a file.")
@flags(BatchOptions, only=REST)
@own("--page", "with_page", group="Output", is_flag=True, help=PAGE)
@own("--on", "run_on", group=CLUSTER, type=PLACES, default="local", help="Run here, or on Ray.")
@flags(ClusterOptions)
@own("--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output.")
@own("--progress", type=PROGRESS, default="bar", help="On standard error: bars, or JSON lines.")
@own("-q", "--quiet", group="Options", is_flag=True, help="Print errors only.")
@own("-v", "--verbose", is_flag=True, help="Say more; errors with their traceback.")
@own("--report", "report_on", metavar="DIR", help="Sum up the manifests of a folder, and exit.")
@own("--page-only", "page_of", metavar="DIR", help="Write the page of stems that exist, and exit.")
@own("--merge-manifests", "merge_in", metavar="DIR", help="Make one manifest of all, and exit.")
@own("-l", "--list-models", is_flag=True, help="Show the weights there are, and exit.")
@own("--import-weights", "keras_file", type=PATH, metavar="FILE.h5", help=IMPORT)
@own("--self-test", is_flag=True, help="Separate a built-in mixture, check the result, and exit.")
@click.version_option(__version__, prog_name="htmdsep", cls=GroupedOption, group=INFORMATION)
def command(**values: Any) -> None:
    """Separate INPUTS (audio or video files, folders, patterns, playlists, URLs, or - for standard
    input) into vocals and accompaniment.

    \b
    htmdsep song.mp3                        separated/song/vocals.wav, accompaniment.wav
    htmdsep song.mp3 --mp3                  the same as MP3s
    htmdsep -r music/ -o stems/ -c flac     a whole collection
    htmdsep -r music/ -o stems/ --resume    go on with it
    htmdsep --stems vocals -o - song.mp3    vocals to standard output

    Exit status: 0 all done, 1 some file failed, 2 wrong usage, 129, 130 or 143
    interrupted.
    """
    verbose, asks = values["verbose"], values["list_models"] or values["report_on"] is not None
    try:
        sys.exit(run_action(values))
    except HtmdsepError as error:
        if verbose:
            traceback.print_exc()
        click.echo(f"htmdsep: {error}", err=True)
        sys.exit(2 if isinstance(error, (PlanError, ArgumentError)) else 1)
    except OSError as error:
        if error.errno != errno.EPIPE or not asks:
            raise
        # Who asked has read enough, as `head` has
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
        sys.exit(0)


def run_action(values: dict[str, Any]) -> int:
    """Do what is asked for, and return the exit status."""
    name, weights = values.pop("name"), values.pop("weights")
    if name and weights:
        raise click.UsageError("give --name or --weights, not both")
    if values["list_models"]:
        from htmdsep.cli.models import list_models

        return list_models(as_json=values["as_json"])
    if values["keras_file"] is not None:
        from htmdsep.cli.models import import_keras

        return import_keras(values["keras_file"], name)
    if values["report_on"] is not None:
        from htmdsep.cli.summary import print_summary

        return print_summary(values["report_on"], as_json=values["as_json"])
    if values["page_of"] is not None:
        from htmdsep.cli.page import print_page

        return print_page(values["page_of"], quiet=values["quiet"])
    if values["merge_in"] is not None:
        from htmdsep.cli.summary import merge

        return merge(values["merge_in"])
    if values["self_test"]:
        from htmdsep.cli.models import self_test

        return self_test(name or weights, values["device"])
    batch, options = _options(values)
    from htmdsep.cli.output import Talk
    from htmdsep.cli.separate import separate_batch

    if values["with_page"]:
        from htmdsep.cli.page import check_place, print_page

        check_place(batch.out)
    told = {name: values[name] for name in ("as_json", "quiet", "verbose")}
    talk = Talk(**told, progress_as_json=values["progress"] == "json")
    status = separate_batch(batch, options, name or weights, talk)
    return max(status, print_page(batch.out, quiet=talk.quiet)) if values["with_page"] else status


def _options(values: dict[str, Any]) -> tuple[BatchOptions, RunOptions]:
    """Return the options of a run; raise click.UsageError for what makes no sense."""
    _check(values)
    values["inputs"] = (*values["inputs"], *values.pop("more_inputs"))
    end, on_ray = values.pop("end_seconds"), values.pop("run_on") == "ray"
    if end is not None:
        if values["duration_seconds"] is not None or end <= values["start_seconds"]:
            raise click.UsageError("give --end behind --start, and no --duration beside it")
        values["duration_seconds"] = end - values["start_seconds"]
    cluster = options_from(ClusterOptions, values)
    if cluster.ray_address and not on_ray:
        raise click.UsageError("--ray-address needs --on ray")
    batch = replace(
        options_from(BatchOptions, values),
        cluster=cluster if on_ray else None,
        always_manifest=values["with_page"],  # which tells the page where the song came from
    )
    return batch, options_from(RunOptions, values)


def _check(values: dict[str, Any]) -> None:
    """Refuse combinations that make no sense, with exit status 2."""
    inputs = (*values["inputs"], *values["more_inputs"])
    if not inputs and values["list_file"] is None:
        raise click.UsageError("nothing to separate; name files or folders (see --help)")
    if values["file_format"] == STEM_FILE and values["stems"] != "both":
        raise click.UsageError(f"a {STEM_FILE} holds both stems; leave --stems out")
    if values["file_format"] == STEM_FILE and values["with_page"]:
        raise click.UsageError(f"browsers play no stems of a {STEM_FILE}; leave --page out")
    if values["verify"] and values["existing"] != "resume":
        raise click.UsageError("--verify needs --resume")
    if values["device"].replace(".", "").isdecimal():
        raise click.UsageError("--device is cpu, cuda or mps; seconds are given with --duration")
    if values["run_on"] == "ray" and STANDARD_STREAM in (values["out"], *inputs):
        raise click.UsageError("--on ray takes files and folders, not standard input or output")
    if values["run_on"] == "ray" and values["progress"] == "json":
        raise click.UsageError("--on ray tells of songs when they end: use --json, not --progress")
    if values["list_file"] == STANDARD_STREAM and STANDARD_STREAM in inputs:
        raise click.UsageError("standard input is a list (--from -) or audio (-), not both")
    if values["out"].endswith((*FORMATS,)) and not Path(values["out"]).is_dir():
        raise click.UsageError(
            "--out names a folder; a file is named with --stems vocals --filename NAME.{ext}"
        )
    if values["out"] == STANDARD_STREAM:
        _check_standard_output(values)


def _check_standard_output(values: dict[str, Any]) -> None:
    if values["stems"] == "both" or values["as_json"]:
        raise click.UsageError(
            "standard output takes one stem and nothing else; give --stems and drop --json"
        )
    if sys.stdout is None:
        raise click.UsageError("standard output is closed; redirect it to a file or pipe")
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; redirect it to a file or pipe")


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    run_program(command)
