from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from htmdsep.model import HTMDNet, HTMDNetConfig
from htmdsep.training.cli import command
from htmdsep.weights_file import WeightsInfo, load_weights, save_weights


def written(path: Path, config: HTMDNetConfig, value: float) -> tuple[str, str]:
    """Write a network whose weights are all one value; return the file and its hash."""
    network = HTMDNet(config)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    info = WeightsInfo(path.stem, config, "CC0-1.0", {"steps": int(value)})
    return str(path), save_weights(path, network, info, torch.float16)


def test_the_mean_of_weights(tmp_path: Path, tiny_config: HTMDNetConfig) -> None:
    files = [written(tmp_path / f"{n}.safetensors", tiny_config, n) for n in (1.0, 2.0, 6.0)]
    out = tmp_path / "mean.safetensors"
    result = CliRunner().invoke(
        command, ["average", *(path for path, _ in files), "--out", str(out), "--name", "mean"]
    )
    assert result.exit_code == 0, result.output
    network, info = load_weights(out)
    assert (info.name, info.licence) == ("mean", "CC0-1.0")
    assert info.provenance == {"steps": 1, "averaged": [digest for _, digest in files]}
    for name, tensor in network.state_dict().items():
        assert not tensor.is_floating_point() or (tensor == 3).all(), name


def test_what_cannot_be_averaged(tmp_path: Path, tiny_config: HTMDNetConfig) -> None:
    one, _ = written(tmp_path / "one.safetensors", tiny_config, 1.0)
    other, _ = written(tmp_path / "other.safetensors", replace(tiny_config, blocks=1), 1.0)
    for weights, message in (
        ([one], "two weights or more"),
        ([one, other], "is of another network than"),
        ([one, "unheard-of"], "no weights"),
    ):
        result = CliRunner().invoke(command, ["average", *weights, "--out", "x", "--name", "x"])
        assert result.exit_code == 1 and message in result.output


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
