"""Batches from Python: outcomes as songs end, nothing printed, nothing half-made."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import htmdsep
from htmdsep import BatchOptions, RunOptions, run_batch
from htmdsep.batch.plan import Job, Source
from htmdsep.batch.recorder import ManifestRecorder
from htmdsep.batch.run import SILENT, work, workers_here
from htmdsep.engines.estimates import Estimate, Note
from htmdsep.errors import HtmdsepError, PlanError
from htmdsep.separation.separator import Separator
from tests.batch.songs import rows_of, write_songs


@pytest.mark.parametrize("jobs", [1, 3])
def test_outcomes_tell_how_every_song_ended(
    tmp_path: Path, tiny_weights: Path, jobs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    music, out = write_songs(tmp_path / "music", 4), tmp_path / "out"
    (music / "bad.wav").write_text("no music")
    batch = BatchOptions(inputs=(str(music),), out=str(out), existing="resume", jobs=jobs)
    options = RunOptions(file_format="flac")
    ended = {Path(one.source.name).stem: one for one in run_batch(batch, options, tiny_weights)}
    assert {name: one.status for name, one in ended.items()} == {
        **dict.fromkeys("0123", "done"),
        "bad": "failed",
    }
    assert isinstance(ended["bad"].error, HtmdsepError)
    report = ended["0"].report
    assert report is not None and report.stems["vocals"].path == str(out / "0" / "vocals.flac")
    again = [one.status for one in htmdsep.run_batch(batch, options, tiny_weights)]
    assert sorted(again) == ["failed", *["skipped"] * 4]
    assert capfd.readouterr() == ("", "")


def test_a_batch_that_is_left_early_leaves_nothing_half_made(
    tmp_path: Path, tiny_weights: Path
) -> None:
    music, out = write_songs(tmp_path / "music", 6, seconds=2.0), tmp_path / "out"
    outcomes = run_batch(BatchOptions((str(music),), str(out), jobs=2), None, tiny_weights)
    assert next(outcomes).status == "done"
    outcomes.close()
    assert not list(out.rglob("*.part"))
    statuses = [row["status"] for row in rows_of(out)]
    assert statuses.count("started") == statuses.count("done") + statuses.count("interrupted") < 6


def test_what_cannot_be_is_told_before_the_first_song(tmp_path: Path, tiny_weights: Path) -> None:
    music = write_songs(tmp_path / "music", 2)
    batch = BatchOptions((str(music),), str(tmp_path / "out"), filename="{stem}.{ext}")
    with pytest.raises(PlanError, match="would both be written"):
        run_batch(batch, None, tiny_weights)
    with pytest.raises(HtmdsepError, match="no weights file"):
        run_batch(BatchOptions((str(music),)), None, tmp_path / "absent.safetensors")


class Noting:
    """Notes what it is, and waits until two streams are under way."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def estimates(self, segments: Iterable[np.ndarray], note: Note) -> Iterator[Estimate]:
        remaining = iter(segments)
        first = next(remaining)
        self._both.wait(30)
        note(f"{len(first)} samples, loudest {np.abs(first).max():.3f}")
        yield Estimate(first)
        for segment in remaining:
            yield Estimate(segment)


def test_notes_belong_to_their_song(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = write_songs(tmp_path / "music", 2)
    separator = Separator(tiny_weights)
    monkeypatch.setattr(separator, "_estimates", Noting().estimates)
    jobs = [
        Job(Source(str(music / f"{n}.wav")), str(tmp_path), {"vocals": f"{n}.wav"})
        for n in range(2)
    ]
    recorder = ManifestRecorder(None, BatchOptions(), "", "")
    outcomes = work(partial(workers_here, separator, SILENT.song, 2), iter(jobs), recorder)
    reports = [outcome.report for outcome in outcomes]
    assert [len(report.notes) for report in reports if report is not None] == [1, 1]


def test_options_of_another_network_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    separator = Separator(tiny_weights, overlap=0.25)
    assert separator.options == RunOptions(overlap=0.25)
    song = write_songs(tmp_path, 1) / "0.wav"
    with pytest.raises(ValueError, match="overlap is settled when a Separator is made"):
        separator.separate_file(song, {"vocals": tmp_path / "v.wav"}, options=RunOptions())
