"""What users of other separators type: taken where it means the same, or answered in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from htmdsep.console import GroupedCommand
from htmdsep.options import FileFormat

# Spellings of options, and of their values, that are taken silently
NAMES: dict[str, str] = {
    "output-path": "out",
    "output-dir": "out",
    "filename-format": "filename",
    "codec": "format",
    "output-format": "format",
    "single-stem": "stems",
    "model": "name",
    "model-filename": "name",
    "m": "n",
    "offset": "start",
    "mp3-bitrate": "bitrate",
    "output-bitrate": "bitrate",
    "Vocals": "vocals",
    "Instrumental": "accompaniment",
    "aac": "m4a",
    "AAC": "m4a",
    **{one.upper(): one for one in get_args(FileFormat)},
}
# What to use in place of options that have no counterpart
ADVICE = {
    "-s": "where to begin is given with --start",
    "-B": "what computes is chosen by --device and --engine",
    "-a": "audio is read and written here; leave it out",
    "--adapter": "audio is read and written here; leave it out",
    "--mp3-preset": "how good an MP3 is, is set by --bitrate",
    "--other-method": "the other stem is the mixture minus this one; leave it out",
    "--normalization": "both stems get one gain by --loudness LUFS, or by --clip-mode rescale",
    "--use-autocast": "the arithmetic is set by --precision",
    "--model-file-dir": "where weights are kept, is set by HTMDSEP_CACHE",
    "--log-level": "how much is told is set by -v and -q",
    "--no-split": "pieces are as long as --segment says, in seconds",
    "--split": "songs are always cut into pieces; their length is --segment, in seconds",
    "--repo": "weights of one's own are given with --weights FILE",
    "--mwf": "it has no counterpart; leave it out",
}


def normalise(word: str) -> str:
    """Return an option's name, or a value that is a choice, as htmdsep spells it."""
    hyphenated = word.replace("_", "-")
    return NAMES.get(hyphenated, hyphenated)


def two_stems(_: click.Context, __: click.Parameter, value: str | None) -> None:
    """Take Spleeter's name of its network with two stems, and no other."""
    if value is not None and not value.startswith("spleeter:2stems"):
        raise click.UsageError("vocals and accompaniment are what there is; leave -p out")


class SeparateCommand(GroupedCommand):
    """A command that knows other separators' words, and refuses flags that contradict others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            if not ctx.resilient_parsing:
                _refuse_contradictions(self.make_parser(ctx).parse_args(args=list(args))[2])
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            advice = ADVICE.get(error.option_name.partition("=")[0].replace("_", "-"))
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
    """Raise click.UsageError where two flags, or a flag and an option, set one value."""
    chosen: dict[str, click.Option] = {}
    for one in given:
        if isinstance(one, click.Option) and one.name:
            other = chosen.setdefault(one.name, one)
            if other is not one:
                raise click.UsageError(f"give {other.opts[0]} or {one.opts[0]}, not both")
