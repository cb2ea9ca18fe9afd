"""What `htmdsep-bench` is asked for."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from htmdsep.errors import HtmdsepError, explained
from htmdsep.options import EngineName, RunOptions, check_limits, option


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The arguments of `htmdsep-bench`; raises HtmdsepError for what makes no sense."""

    song: Path | None  # None: a built-in one of `seconds`
    name: str | None = option(
        None, "Weights by name.", names="-n --name", show_default="those of htmdsep"
    )
    weights: Path | None = option(None, "Weights from a file.", metavar="FILE")
    runs: int = option(5, "Of each case.", least=1)
    segments: tuple[float, ...] = option(
        (0.74, 1.49, 3.0, 10.0),
        "Segment length in seconds; may be repeated.",
        names="--segment",
        above=0,
        most=600,
    )
    precisions: tuple[Literal["fp32", "bf16"], ...] = option(
        ("fp32",), "May be repeated.", names="--precision"
    )
    engines: tuple[EngineName, ...] = option(
        ("auto",), "May be repeated; onnx has no bf16.", names="--engine"
    )
    threads: int | None = option(None, "Of the processor.", least=1, show_default="all cores")
    seconds: float = option(60.0, "Length of the built-in song, where no SONG is given.", least=1)
    only: Literal["network", "program"] | None = option(None, "Only one half of the benchmark.")
    rivals: tuple[str, ...] = option(
        (),
        "Time another command on the same song, too; {song} and {out} are filled in.",
        names="--vs",
        metavar="COMMAND",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.name is not None and self.weights is not None:
            raise HtmdsepError("--name and --weights both say which weights; give one of them")
        if not self.cases():
            raise HtmdsepError("onnx has no bf16; give --engine auto, or --precision fp32, too")
        self.commands()

    def cases(self) -> list[RunOptions]:
        """Return the ways of running a network, less what no engine can do."""
        return [
            RunOptions(device="cpu", precision=precision, engine=engine)
            for precision, engine in product(self.precisions, self.engines)
            if (precision, engine) != ("bf16", "onnx")
        ]

    def commands(self) -> dict[str, list[str]]:
        """Return the words of each rival; raise HtmdsepError where they are no command."""
        commands = {}
        for rival in self.rivals:
            with explained(f"--vs {rival}", "quote it as for a shell", of=ValueError):
                words = shlex.split(rival)
            program = shutil.which(words[0]) if words else None
            if program is None:
                raise HtmdsepError(f"--vs {rival}: there is no such command")
            commands[rival] = [str(Path(program).absolute()), *words[1:]]
        return commands
