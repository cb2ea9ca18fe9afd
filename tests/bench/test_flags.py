"""What is typed reaches what is timed; here, nothing is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from htmdsep.bench.cli import command
from htmdsep.bench.network import Timing
from htmdsep.bench.program import CommandTime
from htmdsep.weights.catalogue import WeightsFile, find_weights

CASE = "htmdsep --precision fp32 --engine onnx"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what would have been timed: the network's weights, the commands, their threads."""
    found: dict[str, Any] = {}

    def time_networks(
        _: object, located: WeightsFile, lengths: Sequence[float], *__: object
    ) -> tuple[list[Timing], dict[str, float]]:
        found["weights"] = located.name
        return [Timing("onnx", "fp32", length, 0.1, 10.0, 1.0) for length in lengths], {"fp32": 1.0}

    def time_commands(commands: Mapping[str, Sequence[str]], *_: object) -> dict[str, CommandTime]:
        found["commands"], found["threads"] = commands, os.environ["OMP_NUM_THREADS"]
        return {name: CommandTime(1.0, 1.0, None) for name in commands}

    monkeypatch.setattr("htmdsep.bench.report.time_networks", time_networks)
    monkeypatch.setattr("htmdsep.bench.report.time_commands", time_commands)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return found


def bench(*flags: str) -> dict[str, Any]:
    done = CliRunner().invoke(command, ["--seconds", "1", "--json", *flags], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("flags", "timings", "programs"),
    [
        ([], 5, [CASE]),
        (["--only", "network"], 5, []),
        (["--only", "program"], 0, [CASE]),
    ],
)
def test_one_half_may_be_left_out(
    timed: dict[str, Any], flags: list[str], timings: int, programs: list[str]
) -> None:
    found = bench(*flags)
    assert (len(found["timings"]), [*found["programs"]]) == (timings, programs)
    assert ("commands" in timed) == bool(programs)


def test_named_weights_and_threads_reach_network_and_commands(timed: dict[str, Any]) -> None:
    assert ", 3 threads, " in bench("--name", "htmdnet-fast", "--threads", "3")["machine"]
    assert (timed["weights"], timed["threads"]) == ("htmdnet-fast", "3")
    words = timed["commands"][CASE]
    assert words[words.index("--weights") + 1] == str(find_weights("htmdnet-fast").path.resolve())
