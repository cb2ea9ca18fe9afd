"""What `htmdsep-evaluate run` is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from htmdsep.errors import HtmdsepError
from htmdsep.options import DEFAULT_WEIGHTS, check_limits, option

Setting = Literal["mono", "native"]  # 22 050 Hz mono; or the input's own rate and channels
Procedure = Literal["v4", "segments"]  # BSS Eval v4; or the authors', each segment by itself

PICTURES = ("4", "5")  # of excerpts: the slides' Results IV and V

_SECONDS = r"(\d+\.?\d*|\.\d+)"
_EXCERPT = re.compile(rf"(.+)@{_SECONDS}\+{_SECONDS}", re.DOTALL)


class Excerpt(NamedTuple):
    """A place in a song, in seconds."""

    title: str
    start: float
    duration: float


def parse_excerpt(text: str) -> Excerpt:
    """Read `TITLE@START+DURATION`, in seconds; raise HtmdsepError for anything else."""
    found = _EXCERPT.fullmatch(text)
    if not found or not float(found[3]):
        raise HtmdsepError(f"an excerpt is TITLE@START+DURATION in seconds, not {text!r}")
    return Excerpt(found[1], float(found[2]), float(found[3]))


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The arguments of `htmdsep-evaluate run`; raises HtmdsepError for those out of range."""

    folder: Path
    out: Path = option(help="Folder for scores, tables and pictures.")
    weights: tuple[str, ...] = option(
        (),
        f"Weights to evaluate; repeat for more.  [default: {DEFAULT_WEIGHTS}]",
        metavar="[LABEL=]NAME|FILE",
    )
    estimates: tuple[str, ...] = option(
        (),
        "Another program's <title>/vocals.* and, if it has it, accompaniment.*; repeatable.",
        metavar="[LABEL=]FOLDER",
    )
    patterns: tuple[str, ...] = option(
        (), "Only this title, or those that fit; repeatable.", names="--songs", metavar="PATTERN"
    )
    subset: Literal["test", "train"] = option("test", "Of MUSDB18.")
    setting: Literal["both", "mono", "native"] = option(
        "both", "mono: 22 050 Hz mono, as the slides. native: the input's own rate and channels."
    )
    masked: bool = option(
        True, "HTMD-Net's intermediate estimate, too.", names="--masked/--no-masked"
    )
    bounds: bool = option(True, "The mixture and two oracles, too.", names="--bounds/--no-bounds")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")
    segment_seconds: float = option(1.0, "Segments of the slides' procedure.", least=0.1, most=60)
    jobs: int = option(1, "Songs at once.", names="-j --jobs", least=1)
    excerpts: tuple[str, ...] = option(
        (),
        "What to draw; twice for two pictures.  [default: where singing comes and goes]",
        names="--excerpt",
        metavar="TITLE@START+SECONDS",
    )
    runtime: bool = option(True, "Time the architectures.", names="--runtime/--no-runtime")

    def __post_init__(self) -> None:
        check_limits(self)
        if len(self.places()) > len(PICTURES):
            raise HtmdsepError(f"there are {len(PICTURES)} pictures; give no more --excerpt")

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings to score in."""
        return ("mono", "native") if self.setting == "both" else (self.setting,)

    def places(self) -> list[Excerpt]:
        """Return the excerpts to draw."""
        return [parse_excerpt(text) for text in self.excerpts]
