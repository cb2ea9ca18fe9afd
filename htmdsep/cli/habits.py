"""What users of other separators type: taken where it means the same, or answered in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from htmdsep.console import GroupedCommand

# Spellings of options, and of their values, that are taken silently
NAMES = {
    "output-path": "out",
    "output-dir": "out",
    "filename-format": "filename",
    "codec": "format",
    "output-format": "format",
    "single-stem": "stems",
    "model": "name",
    "model-filename": "name",
    "offset": "start",
    "Vocals": "vocals",
    "Instrumental": "accompaniment",
    "WAV": "wav",
    "FLAC": "flac",
}
# What to use in place of options that have no counterpart
ADVICE = {
    "-p": "vocals and accompaniment are what there is; leave -p out",
    "-f": "the stems' names are given with --filename",
    "-b": "stems are WAV or FLAC, whose depth --int16, --int24 and --float32 set",
    "-l": "the weights there are, shows --list-models",
    "--bitrate": "stems are WAV or FLAC, whose depth --int16, --int24 and --float32 set",
    "--mp3": "stems are WAV or FLAC: leave it out, or give --flac",
    "--no-split": "pieces are as long as --segment says, in seconds",
    "--split": "songs are always cut into pieces; their length is --segment, in seconds",
    "--repo": "weights of one's own are given with --weights FILE",
    "--mwf": "it has no counterpart; leave it out",
}


def normalise(word: str) -> str:
    """Return an option's name, or a value that is a choice, as htmdsep spells it."""
    hyphenated = word.replace("_", "-")
    return NAMES.get(hyphenated, hyphenated)


class SeparateCommand(GroupedCommand):
    """A command that knows other separators' words, and refuses flags that contradict others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            if not ctx.resilient_parsing:
                _refuse_contradictions(self.make_parser(ctx).parse_args(args=list(args))[2])
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            advice = ADVICE.get(error.option_name.partition("=")[0])
            if advice is None:
                # Those that look alike mislead more often than they help.
                raise click.NoSuchOption(error.option_name, ctx=error.ctx) from error
            raise click.UsageError(f"there is no {error.option_name}: {advice}", ctx) from error
        inputs = ctx.params.get("inputs") or ("",)
        if inputs[0] in ("help", "separate") and not Path(inputs[0]).exists():
            if inputs[0] == "help":
                click.echo(ctx.get_help())
                ctx.exit()
            ctx.params["inputs"] = inputs[1:]
        return rest


def _refuse_contradictions(given: list[Any]) -> None:
    """Raise click.UsageError where two flags set one option to two values."""
    chosen: dict[str, click.Option] = {}
    for one in given:
        if isinstance(one, click.Option) and one.is_flag and not one.is_bool_flag and one.name:
            other = chosen.setdefault(one.name, one)
            if other is not one:
                raise click.UsageError(f"give {other.opts[0]} or {one.opts[0]}, not both")
