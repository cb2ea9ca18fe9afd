"""Whole evaluations: arguments, processes, resuming, failures, tables and pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from htmdsep.datasets.folders import Song, Stem, find_test_songs
from htmdsep.engines.choice import thread_count
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation import cli, run
from htmdsep.evaluation.options import EvaluationOptions, Excerpt, parse_excerpt
from htmdsep.evaluation.results import ResultsFolder
from htmdsep.evaluation.run import choose_pictures
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import BOUNDS, MASKED, System, folder_system, use_mixture
from htmdsep.evaluation.workers import EvaluationTask, evaluate_song, run_tasks
from htmdsep.separation.arrays import Stems
from tests.evaluation.signals import write
from tests.programs import invoke_program


def invoke(*arguments: object) -> Result:
    return invoke_program(cli.command, "htmdsep-evaluate", *arguments)


def end_in_song_two(signals: Signals, title: str) -> Stems:
    """Let the kernel end the process of song two."""
    if title == "two":
        os.kill(os.getpid(), signal.SIGKILL)
    return use_mixture(signals, title)


def tell_threads(_: Signals, _title: str) -> Stems:
    raise HtmdsepError(f"{thread_count()} threads, {torch.get_num_threads()} of PyTorch")


def test_a_crash_is_reported_and_the_other_songs_go_on_sharing_the_cores(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    folder, fragile = ResultsFolder(tmp_path), System("fragile", "", end_in_song_two)
    options = EvaluationOptions(folder=songs, out=tmp_path, setting="native", jobs=2)
    systems = fragile, System("counting", "", tell_threads)
    tasks = [EvaluationTask(song, systems, options) for song in find_test_songs(songs)]
    assert dict(run_tasks(tasks, at_once=2)) == {
        "one": ("counting: 3 threads, 3 of PyTorch",),
        "two": ("its process ended with signal 9",),
    }
    assert folder.has("fragile", "one") and not folder.has("fragile", "two")


def test_one_system_that_fails_leaves_the_others(songs: Path, tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    (song, _) = find_test_songs(songs)
    systems = (folder_system(f"missing={tmp_path}"), BOUNDS[0])
    options = EvaluationOptions(folder=songs, out=tmp_path, setting="native")
    failures = evaluate_song(EvaluationTask(song, systems, options))
    assert len(failures) == 1 and failures[0].startswith("missing: ")
    assert folder.has("mixture", "one") and not folder.has("missing", "one")


def test_scores_that_cannot_be_stored_are_told(songs: Path, tmp_path: Path) -> None:
    (song, _) = find_test_songs(songs)
    (tmp_path / "scores").write_text("no folder")
    options = EvaluationOptions(folder=songs, out=tmp_path, setting="native")
    (failure,) = evaluate_song(EvaluationTask(song, BOUNDS[:1], options))
    assert failure.startswith("mixture: cannot make the folder")


def estimates_of(songs: Path, folder: Path, titles: list[str]) -> Path:
    """Leave estimates as another program would: the vocals, a little wrong."""
    for title in titles:
        signals = read_song(next(s for s in find_test_songs(songs) if s.title == title))
        wrong = signals.vocals + 0.1 * signals.accompaniment
        write(folder / title / "vocals.wav", wrong, signals.sample_rate)
    return folder


def test_one_command_gives_tables_and_pictures_and_goes_on_later(
    songs: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    foreign = estimates_of(songs, tmp_path / "foreign", ["one"])
    monkeypatch.setattr(run, "write_runtime", lambda folder, _: write_stub(folder))
    command = ["run", songs, "--out", out, "--weights", tiny_weights, "-j", 2, "--setting", "mono"]
    arguments = [*command, "--estimates", f"other={foreign}"]
    first = invoke(*arguments, "--excerpt", "one@0.2+2")
    assert first.exit_code == 1  # for song two there are no estimates
    assert "song/s" not in first.stderr and "\r" not in first.stderr  # bars are for terminals
    assert "two: other: " in first.stderr and "no estimate of 'two'" in first.stderr
    assert_complete(out)

    labels = ["tiny", f"tiny{MASKED}", "other", *(bound.label for bound in BOUNDS)]
    folder = ResultsFolder(out)
    assert [*folder.descriptions()] == labels
    assert [folder.has(label, "one") for label in labels] == [True] * 6
    assert [folder.has(label, "two") for label in labels] == [label != "other" for label in labels]

    before = {path: path.stat().st_mtime_ns for path in (out / "scores").rglob("*.csv")}
    estimates_of(songs, tmp_path / "foreign", ["two"])
    second = invoke(*arguments)
    assert second.exit_code == 0, second.output
    assert folder.has("other", "two")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())

    assert invoke("tables", out).exit_code == 0
    refused = invoke(*command, "--setting", "both")
    assert refused.exit_code == 1 and "give another label" in refused.output


def write_stub(folder: Path) -> str:
    (folder / "runtime.md").write_text("## Results III: cost\n")
    return ""


def assert_complete(out: Path) -> None:
    summary = (out / "summary.md").read_text()
    for title in ("Results I:", "Results II:", "Results III:", "BSS Eval v4, vocals", "Silence"):
        assert f"## {title}" in summary
    assert "slides: HTMD-Net (MSE, MAE)" in summary and "4.74/2.21" in summary
    assert "| tiny / other | " in summary  # paired tests
    document = json.loads((out / "summary.json").read_text())
    assert document["songs"] == ["one", "two"]
    known = document["systems"]["tiny"]
    assert 0 <= known["vad_percent"] <= 100
    assert [*known["summaries"][0]] == [
        *("setting", "procedure", "target", "metric", "song_median", "song_interval"),
        *("pooled_median", "pooled_mean", "pooled_interval", "frames", "left_out", "songs"),
    ]
    for name in ("results-4", "results-5", "spectrograms-4", "spectrograms-5"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("segments-mono", "v4-mono"):
        assert (out / f"boxplots-{name}.png").exists()
    assert (out / "museval" / "mono" / "tiny" / "test" / "one.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--songs", "one", "--songs", "three"], "no song matches three"),
        (["--estimates", "nowhere"], "is not a folder"),
        (["--weights", "nothing"], "no weights named 'nothing'"),
        (["--excerpt", "one"], "TITLE@START"),
        (["--excerpt", "three@1+2"], "no song matches three"),
        (["--excerpt", "one@1+2"] * 3, "2 pictures"),
        (["--estimates", ".", "--estimates", "."], "two systems are called"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_scored(
    songs: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = invoke("run", songs, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1 and message in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("excerpt", "message"),
    [
        ("one@1", "TITLE@START"),
        ("one@1+2", "pip install 'htmdsep[eval]': import of pandas halted"),
    ],
)
def test_extras_are_asked_for_once_the_arguments_are_right(
    tmp_path: Path, excerpt: str, message: str
) -> None:
    script = (
        "import sys; sys.modules['pandas'] = None\nfrom htmdsep.evaluation.cli import main; main()"
    )
    arguments = ["run", str(tmp_path), "--out", "out", "--excerpt", excerpt]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_there_are_no_tables_of_nothing(tmp_path: Path) -> None:
    result = invoke("tables", tmp_path)
    assert result.exit_code == 1 and "no scores" in result.output


def song(title: str) -> Song:
    return Song(title, Stem("v", ()), Stem("a", ()))


def test_excerpts_are_read() -> None:
    assert parse_excerpt("A @ B@1.5+20") == Excerpt("A @ B", 1.5, 20)
    for text in ("A@1", "A@1+0", "@1+2", "A@1.2.3+4"):
        with pytest.raises(HtmdsepError, match="TITLE@START"):
            parse_excerpt(text)


@pytest.mark.parametrize(
    ("excerpts", "titles", "expected"),
    [
        ([], ["a"], [("4", "a", None)]),  # a lone song has one picture
        ([], ["a", "b", "c"], [("4", "a", None), ("5", "b", None)]),
        (["caf\u00e9@1+2"], ["cafe\u0301"], [("4", "cafe\u0301", Excerpt("cafe\u0301", 1, 2))]),
        (["b@1+2"], ["a", "b"], [("4", "b", Excerpt("b", 1, 2)), ("5", "b", None)]),
        (
            ["a@1+2", "a@5+2"],
            ["a"],
            [("4", "a", Excerpt("a", 1, 2)), ("5", "a", Excerpt("a", 5, 2))],
        ),
    ],
)
def test_pictures_are_of_what_is_asked_for_or_of_the_first_songs(
    excerpts: list[str], titles: list[str], expected: list[tuple[str, str, Excerpt | None]]
) -> None:
    options = EvaluationOptions(folder=Path(), out=Path(), excerpts=tuple(excerpts))
    found = choose_pictures(options, [song(title) for title in titles])
    assert [(name, one.title, excerpt) for name, one, excerpt in found] == expected


def test_titles_of_any_kind_go_through(
    tmp_path: Path, rng: np.random.Generator, recwarn: pytest.WarningsRecorder
) -> None:
    """Mathematics to matplotlib, nothing to pandas, glyphs that no font has, and no text at all."""
    titles = ["A$AP_feat_Ty_Dolla_$ign", "NA", "\u6771\u4eac \ud55c\uad6d", "caf\udce9"]
    for title in titles:
        for stem in ("vocals", "accompaniment"):
            signal = 0.1 * rng.standard_normal((30_000, 1))
            write(tmp_path / "songs" / title / f"{stem}.wav", signal)
            write(tmp_path / "est" / title / f"{stem}.wav", signal)
    out = tmp_path / "out"
    wanted = [f"--excerpt={titles[i]}@0+1" for i in (0, 2)], [f"--excerpt={titles[3]}@0+1"]
    for excerpts in wanted:
        result = invoke(
            *("run", tmp_path / "songs", "--out", out, "--estimates", f"m={tmp_path / 'est'}"),
            *("--no-bounds", "--no-runtime", "--setting", "native", *excerpts),
        )
        assert result.exit_code == 0, result.output
    assert sorted(json.loads((out / "summary.json").read_text())["songs"]) == sorted(titles)
    assert (out / "results-4.png").exists() and not len(recwarn)
