"""The options of the command line that do something else than separate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from htmdsep.cli.command import command
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.separation.selftest import RECORD, levels, synthesised_mixture
from htmdsep.weights import catalogue
from htmdsep.weights.catalogue import bundled_folder, find_weights
from tests.weights.keras_files import SEGMENT_LENGTH, KerasFile


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in place of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(catalogue, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def keras_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    mixture = rng.uniform(-1, 1, (1, SEGMENT_LENGTH, 1)).astype(np.float32)
    return KerasFile(mixture, rng).write(tmp_path / "published.h5")


@pytest.mark.usefixtures("cache")
def test_list_models() -> None:
    result = CliRunner().invoke(command, ["--list-models"])
    assert result.exit_code == 0 and result.stderr == ""
    assert f"{DEFAULT_WEIGHTS} (default)" in result.stdout and "6.8 M" in result.stdout
    rows = [
        json.loads(line)
        for line in CliRunner().invoke(command, ["--list-models", "--json"]).stdout.splitlines()
    ]
    default = next(row for row in rows if row["name"] == DEFAULT_WEIGHTS)
    assert Path(default["where"]) == bundled_folder() / f"{DEFAULT_WEIGHTS}.safetensors"
    assert default["sample_rate"] == 22_050 and default["licence"]
    absent = next(row for row in rows if row["name"] == "htmdnet-mse-mae")
    assert absent["parameters"] is None and "raw.githubusercontent.com" in absent["where"]


def test_imported_weights_are_known_by_name(keras_file: Path, cache: Path) -> None:
    result = CliRunner().invoke(command, ["--import-weights", str(keras_file), "-n", "mine"])
    assert result.exit_code == 0, result.stderr
    assert "is now --name mine" in result.stderr
    located = find_weights("mine")
    assert located.path == cache / "mine.safetensors"
    network, info = located.load()
    assert info.name == "mine" and network.config.activation == "linear"  # type: ignore[union-attr]
    listed = CliRunner().invoke(command, ["--list-models"]).stdout
    assert "mine" in listed
    result = CliRunner().invoke(command, ["--import-weights", str(keras_file)])
    assert result.exit_code == 0 and find_weights("published").path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "htmdnet"], "the name 'htmdnet' is taken"),
        (["-n", "../evil"], "cannot be a name"),
    ],
)
def test_names_that_cannot_be(
    keras_file: Path, cache: Path, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(command, ["--import-weights", str(keras_file), *arguments])
    assert result.exit_code == 1 and message in result.stderr
    assert not cache.exists()


def test_published_weights_are_fetched_once_by_name(
    keras_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = catalogue.PublishedWeights(
        "htmdnet-mse-mae", keras_file.as_uri(), catalogue.hash_git_blob(keras_file.read_bytes())
    )
    monkeypatch.setattr(catalogue, "PUBLISHED", (fetched,))
    located = find_weights("htmdnet-mse-mae")
    assert {path.name for path in cache.iterdir()} == {
        "htmdnet-mse-mae.safetensors",
        "htmdnet-mse-mae.safetensors.sha256",
    }
    network, info = located.load()
    assert info.licence == "none stated by the authors"
    assert info.provenance["git_blob"] == fetched.git_blob
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    keras_file.unlink()
    assert find_weights("htmdnet-mse-mae").path == located.path


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ([], DEFAULT_WEIGHTS),
        (["-n", "spectral-small"], "spectral-small"),
        (["-n", "htmdnet-fast", "-d", "cpu"], "htmdnet-fast"),
    ],
)
def test_self_test_passes_with_the_bundled_weights(typed: list[str], name: str) -> None:
    result = CliRunner().invoke(command, ["--self-test", *typed])
    assert result.exit_code == 0, result.stdout
    assert "FAILED" not in result.stdout
    assert result.stdout.count("ok ") == 4 and "times real time" in result.stdout
    for level in json.loads((bundled_folder() / RECORD).read_text())[name].values():
        assert f"(recorded {level:.2f})" in result.stdout


def test_self_test_of_other_weights_checks_what_holds_for_any(tiny_weights: Path) -> None:
    result = CliRunner().invoke(command, ["--self-test", "--weights", str(tiny_weights)])
    assert result.exit_code == 0 and result.stdout.count("ok ") == 2
    result = CliRunner().invoke(command, ["--self-test", "-d", "cuda:99"])
    assert result.exit_code == 1 and "cuda:99" in result.stderr


def test_self_test_fails_where_levels_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {DEFAULT_WEIGHTS: {"vocals_dbfs": 0.0, "accompaniment_dbfs": 0.0}}
    (tmp_path / RECORD).write_text(json.dumps(wrong))
    monkeypatch.setattr("htmdsep.separation.selftest.bundled_folder", lambda: tmp_path)
    result = CliRunner().invoke(command, ["--self-test"])
    assert result.exit_code == 1
    assert result.stdout.count("FAILED") == 2


def test_the_built_in_mixture_is_fixed() -> None:
    mixture = synthesised_mixture()
    assert mixture.shape == (441_000, 2) and np.abs(mixture).max() == np.float32(0.8)
    found = levels(mixture, mixture / 2)
    assert found["vocals_dbfs"] == found["accompaniment_dbfs"] == pytest.approx(-24.61, abs=0.01)
