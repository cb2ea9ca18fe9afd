"""The slides' figures, and Results III."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from htmdsep.evaluation import cli, runtime, slides
from htmdsep.evaluation.runtime import measure_runtime, runtime_markdown
from htmdsep.networks.build import build_network
from htmdsep.networks.config import WaveUNetConfig
from htmdsep.networks.cost import parameter_count
from tests.tiny import TINY

SMALL = (TINY, WaveUNetConfig(segment_length=2048, levels=3, channels=2))


@pytest.mark.parametrize(
    ("label", "provenance", "losses"),
    [
        ("htmdnet-mse-mae", {}, "mse-mae"),
        ("htmdnet_mae-mae", {}, "mae-mae"),
        ("mine", {"command": "htmdsep-train run MUSDB18 --loss mae --out x"}, "mae"),
        ("mine", {"command": "htmdsep-train run corpus --max-minutes 120"}, None),
        ("maestro", {}, None),
    ],
)
def test_losses_are_known_from_the_name_or_the_command(
    label: str, provenance: dict[str, str], losses: str | None
) -> None:
    assert slides.losses_of(label, provenance) == losses


def test_the_slides_rows() -> None:
    figures = ["5.16", "10.23", "8.53", "4.69/0.60", "9.80/6.98", "7.92/6.53", "-62.2", "84.7"]
    assert slides.row_of("htmdnet", "mse-mse") == ["HTMD-Net (MSE, MSE)", *figures]
    for architecture in slides.ARCHITECTURES:
        assert slides.row_of(architecture, None) is not None
    assert slides.row_of("another", "mse") is None


def test_the_published_sizes() -> None:
    for config in runtime.CONFIGS:
        million, *_ = slides.RUNTIMES[config.architecture]
        assert parameter_count(build_network(config)) / 1e6 == pytest.approx(million, abs=0.05)


@pytest.mark.parametrize("rounds", [1, 2])
def test_costs_are_medians_of_rounds_taken_in_turn(rounds: int) -> None:
    costs = measure_runtime(["cpu"], rounds, SMALL)
    assert [cost.architecture for cost in costs] == ["htmdnet", "waveunet"]
    for cost in costs:
        lower, upper = cost.quartiles
        assert 0 < lower <= cost.median <= upper and cost.multiply_adds > 0
        assert cost.rounds == rounds
    text = runtime_markdown(costs)
    assert "| HTMD-Net | " in text and "| Wave-U-Net | " in text
    assert "*50.5 [3.7]*" in text  # the slides' ratio to Wave-U-Net
    assert "not measured" in text  # no GPU was asked for


def test_the_runtime_command_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.measure_runtime, "__defaults__", (1, SMALL))
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    result = CliRunner().invoke(
        cli.command, ["runtime", "--out", str(tmp_path), "--device", "cpu", "--rounds", "1"]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runtime.md").read_text() == result.stdout.rstrip("\n")
    assert "sizes, 1 CPU thread. " in result.stdout
    (first, _) = json.loads((tmp_path / "runtime.json").read_text())
    assert [*first] == [
        *("architecture", "device", "parameters", "multiply_adds", "median", "quartiles", "rounds")
    ]
