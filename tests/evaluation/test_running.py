"""Whole evaluations: processes, resuming, failures, tables and pictures."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation import cli, session
from htmdsep.evaluation.results import Folder
from htmdsep.evaluation.running import Task, evaluate_song, run_tasks
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import (
    BOUNDS,
    MASKED,
    FolderSystem,
    MixtureSystem,
    NetworkSystem,
    System,
    estimate_excerpt,
    labelled,
    network_systems,
)
from htmdsep.folders import find_test_songs
from htmdsep.model import ConvTasNet, ConvTasNetConfig, HTMDNet
from htmdsep.separator import Separator, Stems
from htmdsep.weights_file import load_weights


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(cli.command, [str(word) for word in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def networks(weights: Path) -> list[System]:
    return network_systems(str(weights), device="cpu", with_masked=True)


@dataclass(frozen=True)
class Killed(MixtureSystem):
    """A system during which the kernel ends the process of song two."""

    def estimate(self, signals: Signals, title: str) -> Stems:
        if title == "two":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().estimate(signals, title)


def test_a_crash_is_reported_and_the_other_songs_go_on(songs: Path, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    tasks = [
        Task(song, (Killed("fragile"),), ("native",), 1.0, folder)
        for song in find_test_songs(songs)
    ]
    outcomes = {outcome.title: outcome.failures for outcome in run_tasks(tasks, at_once=2)}
    assert outcomes == {"one": (), "two": ("its process ended with signal 9",)}
    assert folder.has("fragile", "one") and not folder.has("fragile", "two")


def test_a_network_is_measured_as_the_command_line_runs_it(songs: Path, tiny_weights: Path) -> None:
    signals = read_song(find_test_songs(songs)[0])
    (final, masked) = networks(tiny_weights)
    expected = Separator(tiny_weights, device="cpu").separate(signals.mixture, signals.sample_rate)
    found = final.estimate(signals, "one")
    np.testing.assert_array_equal(found.vocals, expected.vocals)
    np.testing.assert_array_equal(found.accompaniment, expected.accompaniment)
    intermediate = masked.estimate(signals, "one")
    assert masked.label == f"tiny{MASKED}"
    assert not np.allclose(intermediate.vocals, expected.vocals, atol=1e-4)


def test_the_masked_estimate_is_the_networks_probe_point(songs: Path, tiny_weights: Path) -> None:
    """A network without its denoising network has the same estimate."""
    network, info = load_weights(tiny_weights)
    assert isinstance(network, HTMDNet)
    shared = {field.name: getattr(info.config, field.name) for field in fields(ConvTasNetConfig)}
    alone = ConvTasNet(ConvTasNetConfig(**shared))
    alone.masking = network.masking
    mono = read_song(find_test_songs(songs)[0]).mono()
    expected = Separator(alone).separate(mono.mixture, mono.sample_rate).vocals
    (_, masked) = networks(tiny_weights)
    np.testing.assert_allclose(masked.estimate(mono, "one").vocals, expected, atol=1e-6)


def test_an_excerpt_of_a_folder_is_cut_from_its_files(songs: Path) -> None:
    mono = read_song(find_test_songs(songs)[0]).mono()
    around = mono.excerpt(1.0, 1.0)
    system = FolderSystem("truth", songs / "songs")
    cut = estimate_excerpt(system, around, "one", mono, 1.0)
    np.testing.assert_allclose(cut, around.vocals, atol=1e-6)


def test_one_system_that_fails_leaves_the_others(songs: Path, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (song, _) = find_test_songs(songs)
    systems = (FolderSystem("missing", tmp_path), MixtureSystem())
    failures = evaluate_song(Task(song, systems, ("native",), 1.0, folder))
    assert len(failures) == 1 and failures[0].startswith("missing: ")
    assert folder.has("mixture", "one") and not folder.has("missing", "one")


@pytest.mark.parametrize("text", ["a/b=x", "=x", "..=x"])
def test_labels_that_are_no_folder_names_are_refused(text: str) -> None:
    with pytest.raises(HtmdsepError, match="cannot be a label"):
        labelled(text)


def estimates_of(songs: Path, folder: Path, titles: list[str]) -> Path:
    """Leave estimates as another program would: the vocals, a little wrong."""
    for title in titles:
        signals = read_song(next(s for s in find_test_songs(songs) if s.title == title))
        (folder / title).mkdir(parents=True)
        wrong = signals.vocals + 0.1 * signals.accompaniment
        soundfile.write(folder / title / "vocals.wav", wrong, signals.sample_rate, "FLOAT")
    return folder


def test_one_command_gives_tables_and_pictures_and_goes_on_later(
    songs: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    foreign = estimates_of(songs, tmp_path / "foreign", ["one"])
    monkeypatch.setattr(session, "write_runtime", lambda folder, _: write_stub(folder))
    arguments = [
        "run",
        songs,
        "--out",
        out,
        "--weights",
        tiny_weights,
        "-j",
        2,
        "--setting",
        "mono",
    ]
    first = invoke(*arguments, "--estimates", f"other={foreign}", "--excerpt", "one@0.2+2")
    assert first.exit_code == 1  # for song two there are no estimates
    assert "two: other: " in first.stderr and "no estimate of 'two'" in first.stderr
    assert_complete(out)

    labels = ["tiny", f"tiny{MASKED}", "other", *(bound.label for bound in BOUNDS)]
    folder = Folder(out)
    assert folder.systems() == labels
    assert [folder.titles(label) for label in labels] == [
        ["one"] if label == "other" else ["one", "two"] for label in labels
    ]

    before = {path: path.stat().st_mtime_ns for path in (out / "scores").rglob("*.csv")}
    estimates_of(songs, tmp_path / "foreign", ["two"])
    second = invoke(*arguments, "--estimates", f"other={foreign}")
    assert second.exit_code == 0, second.output
    assert folder.titles("other") == ["one", "two"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())

    tables = invoke("tables", out)
    assert tables.exit_code == 0
    refused = invoke(*arguments, "--setting", "both")
    assert refused.exit_code == 1 and "give another label" in refused.output


def write_stub(folder: Path) -> str:
    (folder / "runtime.md").write_text("## Results III: cost\n")
    return ""


def assert_complete(out: Path) -> None:
    summary = (out / "summary.md").read_text()
    for title in ("Results I:", "Results II:", "Results III:", "BSS Eval v4, vocals", "Silence"):
        assert f"## {title}" in summary
    assert "slides: HTMD-Net (MSE, MAE)" in summary and "4.74/2.21" in summary
    document = json.loads((out / "summary.json").read_text())
    assert document["songs"] == ["one", "two"]
    assert 0 <= document["systems"]["tiny"]["vad_percent"] <= 100
    for name in ("results-4", "results-5", "spectrograms-4", "spectrograms-5"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("segments-mono", "v4-mono"):
        assert (out / f"boxplots-{name}.png").exists()
    assert (out / "museval" / "mono" / "tiny" / "test" / "one.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--songs", "three"], "no song matches three"),
        (["--estimates", "nowhere"], "is not a folder"),
        (["--weights", "nothing"], "no weights named 'nothing'"),
        (["--excerpt", "one"], "TITLE@START"),
        (["--excerpt", "one@x+2"], "TITLE@START"),
        (["--estimates", ".", "--estimates", "."], "two systems are called"),
    ],
)
def test_wrong_arguments_are_told(
    songs: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = invoke("run", songs, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1 and message in result.output


def test_weights_of_one_label_do_not_mix(tmp_path: Path, tiny_weights: Path) -> None:
    folder = Folder(tmp_path)
    description = {"fingerprint": "a", "settings": ["mono"], "segment_seconds": 1.0}
    folder.describe("x", description)
    folder.describe("x", description)
    with pytest.raises(HtmdsepError, match="scores with fingerprint 'a', not 'b'"):
        folder.describe("x", {**description, "fingerprint": "b"})
    system = NetworkSystem("x", str(tiny_weights))
    masked = NetworkSystem("x", str(tiny_weights), masked=True)
    assert system.fingerprint() != masked.fingerprint()


def test_there_are_no_tables_of_nothing(tmp_path: Path) -> None:
    result = invoke("tables", tmp_path)
    assert result.exit_code == 1 and "no scores" in result.output
