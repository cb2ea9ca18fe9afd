from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from htmdsep.errors import HtmdsepError
from htmdsep.files import sha256
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training.export import current_commit, describe_command, read_credits
from htmdsep.weights.file import WeightsInfo, load_weights, save_weights
from tests.training.conftest import TINY, invoke


def written(path: Path, config: HTMDNetConfig, value: float) -> tuple[str, str]:
    """Write a network whose weights are all one value; return the file and its hash."""
    network = HTMDNet(config)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    info = WeightsInfo(path.stem, config, "CC0-1.0", {"steps": int(value)})
    return str(path), save_weights(path, network, info, torch.float16)


def test_the_mean_of_weights(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{n}.safetensors", TINY, n) for n in (1.0, 2.0, 6.0)]
    out = tmp_path / "mean.safetensors"
    code, output = invoke("average", *(path for path, _ in files), "--out", out, "--name", "mean")
    assert code == 0, output
    network, info = load_weights(out)
    assert (info.name, info.licence) == ("mean", "CC0-1.0")
    assert info.provenance == {"steps": 1, "averaged": [digest for _, digest in files]}
    for name, tensor in network.state_dict().items():
        assert not tensor.is_floating_point() or (tensor == 3).all(), name


def test_a_mean_owes_what_each_of_its_weights_owes(tmp_path: Path) -> None:
    mine, hers, both = ({"source": name, "licence": name[:3]} for name in ("CC0-1", "NC-4", "BY"))
    out = tmp_path / "mean.safetensors"
    paths: list[Path] = []
    for licence, data in (
        ("CC0-1.0", [mine, both]),
        ("CC-BY-NC-4.0", [both, hers]),
        ("CC-BY-NC-4.0 AND CC0-1.0", [mine]),
    ):
        paths.append(tmp_path / f"{len(paths)}.safetensors")
        info = WeightsInfo("x", TINY, licence, {"data": data})
        save_weights(paths[-1], HTMDNet(TINY), info, torch.float16)
    code, output = invoke("average", *paths, "--out", out, "--name", "mean")
    assert code == 0, output
    _, info = load_weights(out)
    assert info.licence == "CC0-1.0 AND CC-BY-NC-4.0"
    assert info.provenance["data"] == [mine, both, hers]


def test_what_cannot_be_averaged(tmp_path: Path) -> None:
    one, _ = written(tmp_path / "one.safetensors", TINY, 1.0)
    other, _ = written(tmp_path / "other.safetensors", replace(TINY, blocks=1), 1.0)
    for weights, message in (
        ([one], "two weights or more"),
        ([one, other], "is of another network than"),
        ([one, "unheard-of"], "no weights"),
    ):
        code, output = invoke("average", *weights, "--out", tmp_path / "x", "--name", "x")
        assert code == 1 and message in output


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    one, digest = written(tmp_path / "one.safetensors", TINY, 1.0)
    two, _ = written(tmp_path / "two.safetensors", TINY, 2.0)
    code, output = invoke("average", two, one, "--out", one, "--name", "x")
    assert code == 1 and "one.safetensors is the input itself" in output
    credits_file = tmp_path / "credits.csv"
    credits_file.write_text("source,licence\na,CC0\n", encoding="utf-8")
    about = ("--name", "x", "--licence", "CC0-1.0", "--credits", credits_file)
    code, output = invoke("export", one, one, *about)
    assert code == 1 and "one.safetensors is the input itself" in output
    assert sha256(Path(one)) == digest


def test_weights_beyond_half_precision_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    network = HTMDNet(TINY)
    for name, value in network.named_buffers():
        if name.endswith("running_var"):
            value.fill_(1e5)
    save_weights(path, network, WeightsInfo("x", TINY, "CC0-1.0"), torch.float32)
    out = tmp_path / "mean.safetensors"
    code, output = invoke("average", path, path, "--out", out, "--name", "x")
    assert code == 1 and "values of masking.entry.0.running_var are beyond half" in output
    assert not out.exists()


def test_weights_are_not_written_where_their_graph_belongs(tmp_path: Path) -> None:
    one, _ = written(tmp_path / "one.safetensors", TINY, 1.0)
    out = tmp_path / "mean.onnx"
    code, output = invoke("average", one, one, "--out", out, "--name", "x")
    assert code == 1 and "mean.onnx is where the graph of its weights belongs" in output
    assert not out.exists()


@pytest.mark.parametrize("mark", ["", "\ufeff"])  # as spreadsheets save it
def test_credits_are_rows_by_their_columns(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "credits.csv"
    path.write_text(f"{mark}files,source,licence\nvoices/*,me,CC0\n", encoding="utf-8")
    assert read_credits(path) == [{"files": "voices/*", "source": "me", "licence": "CC0"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("files,source,licence\na,b,c\nvoices/*,me\n", "row 2: give a source, a licence"),
        ("files,source,licence\na,b,c\nvoices/*,,CC0\n", "row 2: give a source, a licence"),
        ("files,source,licence\na,b,c\nvoices/*,me,CC0,more\n", "row 2: give a source, a licence"),
        ("files,source\nvoices/*,me\n", "columns source and licence"),
        (None, "cannot read the credits"),
    ],
)
def test_export_wants_credits(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "credits.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HtmdsepError, match=message):
        read_credits(path)
    words = ("--name=x", "--licence=CC0", "--credits", path)
    code, output = invoke("export", tmp_path / "x.pt", tmp_path / "y.safetensors", *words)
    assert code == 1 and message in output


def test_commands_are_told_without_folders() -> None:
    told = describe_command(["run", "/music/my songs", "--out", "a/b"])
    assert told == "htmdsep-train run 'my songs' --out a/b"
    told = describe_command(["run", "music", "--out=/home/me/b", "--encoder=16"])
    assert told == "htmdsep-train run music --out=b --encoder=16"
    assert current_commit()


def test_only_a_repository_of_its_own_tells_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        told = ("-c", "user.name=a", "-c", "user.email=a@b", *words)
        return subprocess.check_output(["git", *told], cwd=tmp_path, text=True).strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=mine")
    for place, found in ((".", git("rev-parse", "HEAD")), (".venv/site-packages", "unknown")):
        package = tmp_path / place / "htmdsep" / "training"
        package.mkdir(parents=True)
        monkeypatch.setattr("htmdsep.training.export.__file__", str(package / "export.py"))
        assert current_commit() == found
