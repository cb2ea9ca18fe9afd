from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from htmdsep.errors import HtmdsepError
from htmdsep.model import HTMDNet, HTMDNetConfig
from htmdsep.training import cli
from htmdsep.training.arguments import Arguments
from htmdsep.training.perwindow import band_ratio
from htmdsep.training.presets import OURS, PAPER, network_config
from htmdsep.training.provenance import current_commit, describe_command, read_credits
from htmdsep.weights_file import WeightsInfo, save_weights


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.command, [str(word) for word in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def given(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Arguments:
    """Return the options that a command line makes, without training."""
    caught: list[Arguments] = []
    monkeypatch.setattr(cli, "train_with", caught.append)
    code, output = invoke("run", "folder", "--out", "out", *arguments)
    assert code == 0, output
    return caught[0]


def test_the_presets_stand_unless_an_option_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch).chosen_preset() == OURS
    assert given(monkeypatch, "--preset", "paper").chosen_preset() == PAPER
    changed = given(
        monkeypatch,
        "--preset=paper",
        "--loss=mse-mae",
        "--batch-size=4",
        "--learning-rate=0.01",
        "--epochs=3",
        "--patience=2",
        "--max-minutes=5",
        "--decay=plateau",
        "--masking-share=0.25",
        "--optimiser=muon",
    ).chosen_preset()
    assert (changed.trainer.loss.masked, changed.trainer.loss.beta) == ("mse", 1.0)
    assert (changed.trainer.loss.final, changed.trainer.loss.alpha) == ("mae", 0.1)
    assert (changed.batch_size, changed.epochs, changed.trainer.patience) == (4, 3, 2)
    assert (PAPER.optimiser, changed.optimiser) == ("adam", "muon")
    assert changed.trainer.schedule.learning_rate == 0.01
    assert changed.trainer.schedule.decay == "plateau"
    assert (changed.trainer.max_minutes, changed.trainer.masking_share) == (5, 0.25)


def test_the_papers_preset_is_the_slides_protocol() -> None:
    assert (PAPER.segment_length, PAPER.batch_size, PAPER.epochs) == (16_384, 8, 150)
    assert PAPER.trainer.schedule.at(0, 0.0, 0) == 1e-4
    assert PAPER.trainer.schedule.at(10**6, 1.0, 9) == 1e-4
    assert PAPER.trainer.patience == 20
    assert not PAPER.random_mixes
    htmdnet = network_config(PAPER, "htmdnet")
    assert isinstance(htmdnet, HTMDNetConfig)
    assert (htmdnet.encoder_kernel, htmdnet.encoder_stride) == (16, 8)
    assert {network_config(PAPER, name).architecture for name in ("convtasnet", "waveunet")} == {
        "convtasnet",
        "waveunet",
    }


def test_the_help_is_grouped() -> None:
    code, output = invoke("run", "--help")
    assert code == 0
    places = [output.index(title) for title in ("Data:", "Recipe:", "Length:", "Machine:")]
    assert places == sorted(places)
    assert output.index("Recipe:") < output.rindex("--loss") < output.index("Length:")


def test_an_empty_or_missing_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    code, output = invoke("run", tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "no song found" in output
    assert "songs/<title>/{vocals,accompaniment}.*" in output
    code, output = invoke("run", tmp_path / "nothing", "--out", tmp_path / "out")
    assert code == 1
    assert "is not a folder" in output


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "last.pt").touch()
    code, output = invoke("run", tmp_path, "--out", tmp_path)
    assert code == 1
    assert "give --resume" in output


SHORT = ("--steps=3", "--segment-length=8192", "--batch-size=1", "--workers=1", "--encoder=64", 32)


def test_a_folder_that_cannot_be_is_told_before_anything_is_trained(
    tmp_path: Path, corpus: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htmdsep.training.session.train", None)
    (tmp_path / "song.wav").touch()
    code, output = invoke("run", corpus, "--cache", cache, "--out", tmp_path / "song.wav", *SHORT)
    assert code == 1
    assert "cannot make the folder" in output


def test_a_run_whose_loss_is_lost_ends_as_a_failure(
    tmp_path: Path, corpus: Path, cache: Path
) -> None:
    out = tmp_path / "out"
    code, output = invoke(
        "run", corpus, "--cache", cache, "--out", out, *SHORT, "--learning-rate=1e30"
    )
    assert code == 1
    assert "the loss is no longer finite at step 3; try a lower --learning-rate" in output
    assert not list(out.glob("*.pt"))


def test_the_paper_needs_songs(tmp_path: Path, corpus: Path, cache: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for name in ("voices", "accompaniment"):
        (loose / name).symlink_to(corpus / name)
    code, output = invoke(
        "run", loose, "--out", tmp_path / "out", "--cache", cache, "--preset", "paper"
    )
    assert code == 1
    assert "needs songs/<title>" in output


def test_weights_are_scored(tmp_path: Path, corpus: Path, cache: Path) -> None:
    config = HTMDNetConfig(
        segment_length=4096, encoder_channels=8, blocks=1, denoiser_levels=3, lstm_layers=1
    )
    path = tmp_path / "w.safetensors"
    info = WeightsInfo("w", config, "CC0", {})
    save_weights(path, HTMDNet(config), info, torch.float32)
    scored = {}
    for what in (path, "mixture", "oracle"):
        rows = tmp_path / "rows.csv"
        code, output = invoke("score", what, corpus, "--cache", cache, "--per-window", rows)
        assert code == 0, output
        scored[what] = json.loads(output[output.index("{") : output.index("}") + 1])
        assert scored[what]["set"] == "validation"
        assert scored[what]["windows"] == 1
        with rows.open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["set"] == "validation"
        assert row["vocals"].startswith("songs/") and row["accompaniment"].startswith("songs/")
        assert float(row["sdr"]) == pytest.approx(scored[what]["sdr"], abs=1e-3)
    wanted = {"sdr", "sdr_lower", "sdr_upper", "si_sdr", "pes", "accompaniment_sdr"}
    assert wanted <= scored[path].keys()
    assert scored["oracle"]["sdr"] > max(scored["mixture"]["sdr"], scored[path]["sdr"]) + 3


def test_bundled_weights_are_scored_by_name(corpus: Path, cache: Path) -> None:
    code, output = invoke("score", "htmdnet-fast", corpus, "--cache", cache)
    assert code == 0, output
    assert json.loads(output[output.index("{") : output.index("}") + 1])["windows"] == 1
    code, output = invoke("score", "nobody", corpus, "--cache", cache)
    assert code == 1 and "nobody" in output


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
    code, output = invoke(
        "export", "x.pt", "y.safetensors", "--name=x", "--licence=CC0", "--credits", path
    )
    assert code == 1
    assert "columns source" in output


def test_commands_are_told_without_folders() -> None:
    told = describe_command(["run", "/music/my songs", "--out", "a/b"])
    assert told == "htmdsep-train run 'my songs' --out a/b"
    told = describe_command(["run", "music", "--out=/home/me/b", "--encoder=16"])
    assert told == "htmdsep-train run music --out=b --encoder=16"
    assert current_commit()


def test_the_band_ratio_counts_power_within_the_band() -> None:
    time = torch.arange(22_050) / 22_050
    tone, bass = torch.sin(2 * torch.pi * 1000 * time), torch.sin(2 * torch.pi * 60 * time)
    ratio = band_ratio(tone[None], (0.1 * tone + 10 * bass)[None], 22_050)
    assert ratio.tolist() == [pytest.approx(20, abs=0.01)]
