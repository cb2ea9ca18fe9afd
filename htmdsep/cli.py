"""The command line. Everything heavy is imported once the arguments are known to be right."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from htmdsep.actions import act
from htmdsep.batch import PlanError
from htmdsep.console import prepare_process
from htmdsep.errors import HtmdsepError
from htmdsep.fleet.flags import batch_flags
from htmdsep.options import (
    CLIP_MODES,
    DEFAULT_OVERLAP,
    DEFAULT_WEIGHTS,
    ENGINES,
    FILE_FORMATS,
    MAX_OVERLAP,
    MAX_SAMPLE_RATE,
    MAX_SEGMENT_SECONDS,
    MAX_SHIFTS,
    PRECISIONS,
    STEM_NAMES,
)
from htmdsep.settings import Settings, check_settings
from htmdsep.version import __version__

# Spellings from other separators, and underscores for hyphens, are taken silently.
FOREIGN_FLAGS = {
    "output-path": "out",
    "output-dir": "out",
    "filename-format": "filename",
    "codec": "format",
    "model": "name",
    "offset": "start",
}


def _normalise(word: str) -> str:
    hyphenated = word.replace("_", "-")
    return FOREIGN_FLAGS.get(hyphenated, hyphenated)


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _normalise,
        "max_content_width": 100,
    }
)
@click.argument("inputs", nargs=-1, metavar="INPUTS...")
@click.option(
    "-o",
    "--out",
    default="separated",
    show_default=True,
    metavar="DIR",
    help="Folder for the stems; - writes one stem of one input to standard output.",
)
@click.option(
    "--filename",
    default="{track}/{stem}.{ext}",
    show_default=True,
    metavar="TEMPLATE",
    help="Path below --out; {trackext} and {foldername} are known, too.",
)
@click.option("-r", "--recursive", is_flag=True, help="Look into the folders below, too.")
@click.option(
    "-n",
    "--name",
    metavar="NAME",
    help=f"Weights by name (see --list-models).  [default: {DEFAULT_WEIGHTS}]",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="Weights from a file."
)
@click.option(
    "-d", "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
)
@click.option(
    "--segment",
    "segment_seconds",
    metavar="SECONDS",
    type=click.FloatRange(0, MAX_SEGMENT_SECONDS, min_open=True),
    help="Length of the pieces the network sees.  [default: as trained]",
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, MAX_OVERLAP),
    default=DEFAULT_OVERLAP,
    show_default=True,
    metavar="SHARE",
    help="Share of a piece that the next repeats.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Pieces at once.  [default: as many as keep the cores busy; 16 on a GPU]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="Arithmetic of the network; auto takes less than fp32 only where that is as good.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="What computes on CPUs; openvino (an extra) has bf16, torch starts late.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Files at once; they share the cores.  [default: 1; with Ray, what there is room for]",
)
@click.option(
    "--shifts",
    type=click.IntRange(0, MAX_SHIFTS),
    default=0,
    show_default=True,
    metavar="N",
    help="Further passes at other pitches, averaged: better, and each as slow as the first.",
)
@click.option(
    "--stems",
    type=click.Choice([*STEM_NAMES, "both"]),
    default="both",
    show_default=True,
    help="What to write.",
)
@click.option("--two-stems", type=click.Choice(STEM_NAMES), expose_value=False, hidden=True)
@click.option(
    "-c",
    "--format",
    "file_format",
    type=click.Choice(FILE_FORMATS),
    default="wav",
    show_default=True,
    help="Format of the stems.",
)
@click.option("--flac", "file_format", flag_value="flac", hidden=True)
@click.option("--int16", "subtype", flag_value="PCM_16", help="16-bit integers.")
@click.option("--int24", "subtype", flag_value="PCM_24", help="24-bit integers.")
@click.option(
    "--float32",
    "subtype",
    flag_value="FLOAT",
    help="32-bit floats (WAV).  [default: as deep as the input]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1, MAX_SAMPLE_RATE),
    metavar="HZ",
    help="Sample rate of the stems.  [default: the input's]",
)
@click.option(
    "--start",
    "start_seconds",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Where to begin.",
)
@click.option(
    "--duration",
    "duration_seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How much to separate.  [default: to the end]",
)
@click.option(
    "--clip-mode",
    type=click.Choice(CLIP_MODES),
    help="Beyond full scale: clamp both stems, rescale both by one gain, or (with "
    "--float32) none.  [default: clamp; none for floats]",
)
@click.option(
    "--skip-existing", "existing", flag_value="skip", help="Pass over files whose stems exist."
)
@click.option("--overwrite", "existing", flag_value="overwrite", help="Replace stems that exist.")
@batch_flags
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a file on standard output."
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Say more; errors with their traceback.")
@click.option("--list-models", is_flag=True, help="Show the weights there are, and exit.")
@click.option(
    "--import-weights",
    "keras_file",
    type=click.Path(path_type=Path),
    metavar="FILE.h5",
    help="Convert published Keras weights for use by --name, and exit.",
)
@click.option(
    "--self-test", is_flag=True, help="Separate a built-in mixture, check the result, and exit."
)
@click.version_option(__version__, prog_name="htmdsep")
def command(**arguments: Any) -> None:
    """Separate INPUTS (audio or video files, folders, patterns, URLs, or - for standard input)
    into vocals and accompaniment.

    \b
    htmdsep song.mp3                        separated/song/vocals.wav, accompaniment.wav
    htmdsep -r music/ -o stems/ -c flac     a whole collection
    htmdsep -r music/ -o stems/ --resume    go on with it
    htmdsep --stems vocals -o - song.mp3    vocals to standard output

    Exit status: 0 all done, 1 some file failed, 2 wrong usage, 129, 130 or 143
    interrupted.
    """
    settings = Settings(**arguments)
    check_settings(settings)
    try:
        sys.exit(act(settings))
    except HtmdsepError as error:
        if settings.verbose:
            traceback.print_exc()
        click.echo(f"htmdsep: {error}", err=True)
        sys.exit(2 if isinstance(error, PlanError) else 1)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # click ends quietly, with status 1
        click.echo(f"htmdsep: {error.filename or 'standard output'}: {error.strerror}", err=True)
        sys.exit(1)


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    prepare_process()
    command()
