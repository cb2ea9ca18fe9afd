from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from htmdsep.errors import HtmdsepError
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.cli import command
from htmdsep.training.export import current_commit, describe_command, read_credits
from htmdsep.weights.file import WeightsInfo, load_weights, save_weights


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


def test_export_wants_credits(tmp_path: Path) -> None:
    path = tmp_path / "credits.csv"
    path.write_text("files,source,licence\nvoices/*,me,CC0\n")
    assert read_credits(path) == [{"files": "voices/*", "source": "me", "licence": "CC0"}]
    path.write_text("\ufefffiles,source,licence\nvoices/*,me,CC0\n")  # as spreadsheets save it
    assert read_credits(path) == [{"files": "voices/*", "source": "me", "licence": "CC0"}]
    for row in ("voices/*,me", "voices/*,,CC0", "voices/*,me,CC0,more"):
        path.write_text(f"files,source,licence\na,b,c\n{row}\n")
        with pytest.raises(HtmdsepError, match="row 2: give a source, a licence"):
            read_credits(path)
    path.write_text("files,source\nvoices/*,me\n")
    with pytest.raises(HtmdsepError, match="columns source and licence"):
        read_credits(path)
    words = ["export", "x.pt", "y.safetensors", "--name=x", "--licence=CC0", f"--credits={path}"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 1 and "columns source" in result.output


def test_commands_are_told_without_folders() -> None:
    told = describe_command(["run", "/music/my songs", "--out", "a/b"])
    assert told == "htmdsep-train run 'my songs' --out a/b"
    told = describe_command(["run", "music", "--out=/home/me/b", "--encoder=16"])
    assert told == "htmdsep-train run music --out=b --encoder=16"
    assert current_commit()
