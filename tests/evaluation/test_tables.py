"""The slides' figures, Results III, and the excerpts that are drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation import cli, runtime, slides
from htmdsep.evaluation.excerpts import Excerpt, choose_excerpt, parse_excerpt, silent_stretches
from htmdsep.evaluation.runtime import measure_runtime, runtime_markdown
from htmdsep.evaluation.signals import Signals
from htmdsep.model import WaveUNetConfig
from htmdsep.model.cost import parameter_count
from tests.evaluation.signals import RATE
from tests.networks import TINY

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
    found = slides.row_of("htmdnet", "mse-mse")
    assert found is not None
    title, row = found
    assert title == "HTMD-Net (MSE, MSE)"
    assert row.song == ("5.16", "10.23", "8.53")
    assert row.segment == ("4.69/0.60", "9.80/6.98", "7.92/6.53")
    assert (row.pes, row.vad) == ("-62.2", "84.7")
    for architecture in slides.ARCHITECTURES:
        assert slides.row_of(architecture, None) is not None
    assert slides.row_of("another", "mse") is None


def test_costs_are_medians_of_rounds_taken_in_turn() -> None:
    costs = measure_runtime(["cpu"], rounds=2, configs=SMALL)
    assert [cost.architecture for cost in costs] == ["htmdnet", "waveunet"]
    for cost in costs:
        assert 0 < cost.quartiles[0] <= cost.quartiles[1] + 1e-9
        assert cost.rounds == 2 and cost.multiply_adds > 0
    text = runtime_markdown(costs, 2)
    assert "| HTMD-Net | " in text and "| Wave-U-Net | " in text
    assert "*50.5 [3.7]*" in text  # the slides' ratio to Wave-U-Net
    assert "not measured" in text  # no GPU was asked for


def test_the_runtime_command_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.measure_runtime, "__defaults__", (1, SMALL))
    result = CliRunner().invoke(
        cli.command, ["runtime", "--out", str(tmp_path), "--device", "cpu", "--rounds", "1"]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runtime.md").read_text() == result.stdout.rstrip("\n")
    stored = json.loads((tmp_path / "runtime.json").read_text())
    assert [row["device"] for row in stored] == ["cpu", "cpu"]


def test_the_published_sizes() -> None:
    from htmdsep.model import build_network

    for config in runtime.CONFIGS:
        million, *_ = slides.RUNTIMES[config.architecture]
        assert parameter_count(build_network(config)) / 1e6 == pytest.approx(million, abs=0.05)


def test_excerpts_are_read() -> None:
    assert parse_excerpt("A @ B@1.5+20") == Excerpt("A @ B", 1.5, 20)
    for text in ("A@1", "A@1+0", "@1+2", "A@1.2.3+4"):
        with pytest.raises(HtmdsepError, match="TITLE@START"):
            parse_excerpt(text)


def test_the_excerpt_is_where_singing_comes_and_goes() -> None:
    vocals = np.zeros((60 * RATE, 1), np.float32)
    vocals[: 20 * RATE] = 0.1
    vocals[50 * RATE :] = 0.1
    signals = Signals(vocals, vocals, RATE)
    assert choose_excerpt("a", signals) == Excerpt("a", 40, 20)
    assert choose_excerpt("a", signals, rank=1).start in (0, 20)


def test_silent_stretches_are_of_the_true_vocals() -> None:
    vocals = np.full(10 * RATE, 0.1)
    vocals[2 * RATE : 5 * RATE] = 1e-4
    vocals[7 * RATE : 7 * RATE + RATE // 5] = 0  # too short to shade
    vocals[9 * RATE :] = 0
    found = silent_stretches(vocals, RATE, start=100.0)
    np.testing.assert_allclose(found, [(102, 105), (109, 110)], atol=1e-6)
