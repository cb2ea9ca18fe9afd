"""What is typed reaches what is evaluated; songs are scored in this process, without pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from htmdsep.evaluation import cli, run
from htmdsep.evaluation.results import ResultsFolder
from htmdsep.evaluation.systems import MASKED
from htmdsep.evaluation.workers import evaluate_song
from tests.evaluation.signals import song, write
from tests.programs import invoke_program


@pytest.fixture(autouse=True)
def scores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_here(tasks: Sequence[Any], _: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        return ((task.song.title, evaluate_song(task)) for task in tasks)

    monkeypatch.setattr(run, "run_tasks", run_here)
    monkeypatch.setattr(run, "choose_pictures", lambda *_: [])
    monkeypatch.setattr(run, "write_tables", lambda _: None)


def score(songs: Path, out: Path, weights: Path, *flags: object) -> Result:
    """Score what is asked for, in mono."""
    words = ["run", songs, "--out", out, "--weights", weights, "--no-bounds", "--no-runtime"]
    words += ["--setting", "mono", *flags]
    return invoke_program(cli.command, "htmdsep-evaluate", *words)


@pytest.mark.parametrize(
    ("flags", "labels"), [([], ["tiny", f"tiny{MASKED}"]), (["--no-masked"], ["tiny"])]
)
def test_the_masked_estimate_may_be_left_out(
    songs: Path, tmp_path: Path, tiny_weights: Path, flags: list[str], labels: list[str]
) -> None:
    assert score(songs, tmp_path, tiny_weights, "--songs", "two", *flags).exit_code == 0
    folder = ResultsFolder(tmp_path)
    assert [*folder.descriptions()] == labels
    assert all(folder.has(label, "two") for label in labels)


@pytest.mark.parametrize(("flags", "title"), [([], "a"), (["--subset", "train"], "b")])
def test_musdb18_has_two_subsets(
    tmp_path: Path, tiny_weights: Path, rng: np.random.Generator, flags: list[str], title: str
) -> None:
    for subset, name in (("test", "a"), ("train", "b")):
        vocals, music = song(rng, 1.5)
        write(tmp_path / subset / name / "vocals.wav", vocals)
        write(tmp_path / subset / name / "mixture.wav", vocals + music)
    out = tmp_path / "out"
    assert score(tmp_path, out, tiny_weights, "--no-masked", *flags).exit_code == 0
    assert [path.stem for path in (out / "scores" / "tiny").glob("*.csv")] == [title]


@pytest.mark.parametrize(("flags", "seconds"), [([], 1.0), (["--segment-seconds", 0.5], 0.5)])
def test_segments_are_as_long_as_is_asked_for(
    songs: Path, tmp_path: Path, tiny_weights: Path, flags: list[object], seconds: float
) -> None:
    words = ("--songs", "two", "--no-masked", *flags)  # of 2.3 s
    assert score(songs, tmp_path, tiny_weights, *words).exit_code == 0
    scores = pd.read_csv(ResultsFolder(tmp_path).scores_path("tiny", "two"))
    durations = scores["duration_seconds"].groupby(scores["procedure"])
    assert durations.unique().map(list).to_dict() == {"segments": [seconds], "v4": [1.0]}
    assert durations.count()["segments"] == 2 * 2 / seconds  # of both stems


def test_networks_run_on_the_device_that_is_asked_for(
    songs: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    words = ("--songs", "two", "--device", "cuda:99")
    result = score(songs, tmp_path, tiny_weights, *words)
    assert result.exit_code == 1
    for label in ("tiny", f"tiny{MASKED}"):
        assert f"two: {label}: this machine has no device 'cuda:99'" in result.stderr
