from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.training import cli
from htmdsep.training.losses import VARIANTS
from htmdsep.training.options import TrainOptions
from htmdsep.training.recipe import OURS, PAPER, PRESETS, SPECTRAL, Recipe
from htmdsep.training.trainer import TrainingRun
from htmdsep.weights.file import WeightsInfo, save_weights
from tests.training.conftest import invoke


def given(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> TrainOptions:
    """Return the options that a command line makes, without training."""
    caught: list[TrainOptions] = []
    monkeypatch.setattr(cli, "train_with", caught.append)
    code, output = invoke("run", "folder", "--out", "out", *arguments)
    assert code == 0, output
    return caught[0]


CHANGES: dict[str, dict[str, Any]] = {
    "--loss=mse-mae": {"loss": VARIANTS["mse-mae"]},
    "--architecture=waveunet": {"architecture": "waveunet"},
    "--batch-size=4": {"batch_size": 4},
    "--learning-rate=0.01": {"learning_rate": 0.01},
    "--epochs=3": {"epochs": 3},
    "--patience=2": {"patience": 2},
    "--max-minutes=5": {"max_minutes": 5.0},
    "--decay=cosine": {"decay": "cosine"},
    "--masking-share=0.25": {"masking_share": 0.25},
    "--encoder 64 32": {"encoder_kernel": 64, "encoder_stride": 32},
    "--workers=0": {"workers": 0},
    "--bf16": {"bf16": True},
    "--no-bf16": {"bf16": False},
}


@pytest.mark.parametrize("preset", [OURS, PAPER, SPECTRAL])
def test_the_presets_stand_unless_an_option_is_given(
    monkeypatch: pytest.MonkeyPatch, preset: Recipe
) -> None:
    named = next(f"--preset={name}" for name, one in PRESETS.items() if one is preset)
    assert given(monkeypatch, named).recipe() == preset
    for words, changes in CHANGES.items():
        changed = given(monkeypatch, named, *words.split()).recipe()
        assert changed == replace(preset, **changes), words


def test_the_help_is_grouped() -> None:
    code, output = invoke("run", "--help")
    assert code == 0
    places = [output.index(title) for title in ("Data:", "Recipe:", "Length:", "Machine:")]
    assert places == sorted(places)
    assert output.index("Recipe:") < output.rindex("--loss") < output.index("Length:")


SHORT = ("--steps=3", "--segment-length=8192", "--batch-size=1", "--workers=1", "--encoder=64", 32)


@pytest.mark.parametrize(
    ("folder", "out", "words", "message"),
    [
        ("empty", "new", (), "songs/<title>/{vocals,accompaniment}.*"),
        ("nothing", "new", (), "is not a folder"),
        ("corpus", "new", ("--preset=spectral",), "--start-from spectral"),
        ("corpus", "new", ("--epochs=3",), "have no epochs; give --steps"),
        ("corpus", "ended", (), "give --resume"),
        ("corpus", "song.wav", (), "cannot make the folder"),
        ("loose", "new", ("--preset=paper",), "needs songs/<title>"),
        ("corpus", "new", ("--device=nonsense",), "unknown device 'nonsense'"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    tmp_path: Path, corpus: Path, cache: Path, monkeypatch: pytest.MonkeyPatch,
    folder: str, out: str, words: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("htmdsep.training.run.train", None)
    for name in ("empty", "ended", "loose"):
        (tmp_path / name).mkdir()
    for name in ("voices", "accompaniment"):
        (tmp_path / "loose" / name).symlink_to(corpus / name)
    (tmp_path / "corpus").symlink_to(corpus)
    (tmp_path / "ended" / "last.pt").touch()
    (tmp_path / "song.wav").touch()
    places = (tmp_path / folder, "--cache", cache, "--out", tmp_path / out)
    code, output = invoke("run", *places, *words)
    assert code == 1 and message in output


@pytest.mark.parametrize("preset", ["ours", "paper"])
def test_weights_and_batches_follow_from_the_seed(
    tmp_path: Path, corpus: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    runs: list[TrainingRun] = []
    monkeypatch.setattr("htmdsep.training.run.train", runs.append)
    words = (corpus, "--cache", cache, "--out", tmp_path, *SHORT, "--preset", preset)
    for seed in (5, 5, 6):
        assert invoke("run", *words, "--seed", seed)[0] == 0
    for drawn in (
        [torch.cat([one.flatten() for one in run.state.network.parameters()]) for run in runs],
        [torch.stack([*run.batches.batch(0)]) for run in runs],
    ):
        first, again, other = drawn
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_network_trains_on_as_many_threads_as_are_asked_for(tmp_path: Path) -> None:
    places = (tmp_path / "nothing", "--out", tmp_path / "out")
    assert invoke("run", *places, "--threads=3")[0] == 1  # as there is no such folder
    assert torch.get_num_threads() == 3
    code, output = invoke("run", *places, "--threads=0")
    assert code == 2 and "not in the range" in output


def test_a_run_whose_loss_is_lost_ends_as_a_failure(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    out = tmp_path / "out"
    code, output = invoke(
        "run", corpus, "--cache", cache, "--out", out, *SHORT, "--learning-rate=1e30"
    )
    assert code == 1
    assert (
        "the loss is no longer finite at step 3; begin anew with a lower --learning-rate" in output
    )
    assert not list(out.glob("*.pt"))


def test_a_run_is_ended_by_a_signal_and_keeps_others_out(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".last.pt.0a1b2c3d.part").touch()  # of a run that was killed
    words = ["run", corpus, "--cache", cache, "--out", out, *SHORT[1:], "--no-bf16"]
    running = subprocess.Popen(
        [sys.executable, "-m", "htmdsep.training", *map(str, words), "--epoch-minutes=0.001"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "log.csv").exists() and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        code, output = invoke(*words, "--resume")
        assert code == 1 and "another run is training into" in output
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 143, errors
    assert (out / "last.pt").exists()
    assert not list(out.glob(".*"))
    assert errors.count("step 1,") == 1 and "\r" not in errors  # bars are for terminals


def test_weights_are_scored_by_file_and_by_name(tmp_path: Path, corpus: Path, cache: Path) -> None:
    config = HTMDNetConfig(
        segment_length=4096, encoder_channels=8, blocks=1, denoiser_levels=3, lstm_layers=1
    )
    path = tmp_path / "w.safetensors"
    save_weights(path, HTMDNet(config), WeightsInfo("w", config, "CC0", {}), torch.float32)
    scored = {}
    for what in (str(path), "htmdnet-fast", "mixture", "oracle"):
        code, output = invoke("score", what, corpus, "--cache", cache)
        assert code == 0, output
        scored[what] = json.loads(output[output.index("{") : output.index("}") + 1])
        assert (scored[what]["set"], scored[what]["windows"]) == ("validation", 1)
    wanted = {"sdr", "sdr_lower", "sdr_upper", "sdr_mean", "si_sdr", "pes", "accompaniment_sdr"}
    assert wanted <= scored[str(path)].keys()
    others = (scored[what]["sdr"] for what in (str(path), "mixture"))
    assert scored["oracle"]["sdr"] > max(others) + 3
    code, output = invoke("score", "nobody", corpus, "--cache", cache)
    assert code == 1 and "nobody" in output
