"""What earlier versions have stored, and programs read: it must not change."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path

import pytest

from tests.batch.songs import Run, rows_of, write_songs

# Of version 0.1.0; docs/catalogues.md promises that no later one undoes a song.
DEFAULTS = "12ebb7d100707538f9a2be05ae86fe3ffd0f2942ffd77b85acc618a3e23d029d"
# A row of version 0.1.0, but for the host and the hash of the weights
ROW = (
    '{"id": "fd176425ccb4d7ae", "time": "2026-01-02T03:04:05.678Z", "proof": "0123456789abcdef", '
    '"status": "done", "input": "/elsewhere/music/0.wav", "outputs": '
    '{"vocals": {"path": "0/vocals.wav", "sha256": "%(sha256)s", "stamp": "4:1000000000"}, '
    '"accompaniment": {"path": "0/accompaniment.wav", "sha256": "%(sha256)s", '
    '"stamp": "4:1000000000"}}, "options_sha256": "%(options)s", "weights_sha256": "%(weights)s", '
    '"attempt": 1, "input_sha256": "%(sha256)s", "input_stamp": "%(size)s:1000000000", '
    '"seconds": 1.5, "audio_seconds": 0.3, "result": {"sample_rate": 22050, "channels": 1, '
    '"subtype": "PCM_16", "mixture_peak": 0.5, "levels": {"vocals": {"peak": 0.5, "rms": 0.1}, '
    '"accompaniment": {"peak": 0.5, "rms": 0.1}}, "vocals_share": 0.5, "clipped_samples": 0, '
    '"closure": true, "weights": "tiny", "notes": []}, "host": "somewhere"}\n'
)
STEM = ["path", "peak", "rms"]


@pytest.fixture
def batch(run: Run) -> Run:
    """Separate a folder of one song, with more arguments."""
    write_songs(Path("music"), 1)
    return partial(run, "music", "-o", "out")


def test_the_hash_of_the_default_options(batch: Run) -> None:
    assert batch().exit_code == 0
    assert {row["options_sha256"] for row in rows_of(Path("out"))} == {DEFAULTS}


@pytest.mark.parametrize("changed", [False, True])
def test_a_manifest_of_an_earlier_version_is_gone_on_with(
    run: Run, batch: Run, tiny_weights: Path, changed: bool
) -> None:
    for path in ("music/0.wav", "out/0/vocals.wav", "out/0/accompaniment.wav"):
        if path.startswith("out"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"stem")
        os.utime(path, (1, 1))
    weights = hashlib.sha256(tiny_weights.read_bytes()).hexdigest()
    row = ROW % {
        "options": DEFAULTS,
        "weights": weights,
        "size": Path("music/0.wav").stat().st_size,
        "sha256": hashlib.sha256(b"stem").hexdigest(),
    }
    Path("out/manifest.jsonl").write_text(row)
    if changed:
        Path("out/0/vocals.wav").write_bytes(b"mets")
    result = batch("--resume")
    counted = "1 done, 0 skipped, 0 failed\n" if changed else "0 done, 1 skipped, 0 failed\n"
    assert result.stderr.endswith(counted)
    assert Path("out/manifest.jsonl").read_text().startswith(row)
    report = json.loads(run("--report", "out", "--json").stdout)
    assert (report["songs"], report["done"]) == (1, 1)


def test_the_keys_of_what_is_written(run: Run, batch: Run) -> None:
    record = json.loads(batch("--json").stdout)
    assert list(record) == [
        *("input", "status", "wall_seconds", "peak_rss_bytes", "seconds", "sample_rate"),
        *("channels", "subtype", "mixture_peak", "stems", "clipped_samples"),
        *("clipped_stem_samples", "gain", "closure", "vocals_share", "weights"),
        *("weights_sha256", "device", "precision", "engine"),
        *("shifts", "loudness", "notes"),
    ]
    assert [list(stem) for stem in record["stems"].values()] == [STEM, STEM]
    started, done = rows_of(Path("out"))
    begun = ["id", "time", "status", "input", "outputs", "options_sha256", "weights_sha256"]
    assert list(started) == [*begun, "attempt", "input_stamp", "host"]
    assert [key for key in done if key != "proof"] == [
        *(*begun, "attempt", "input_sha256", "input_stamp", "seconds", "audio_seconds"),
        *("result", "host"),
    ]
    assert list(done["outputs"]["vocals"]) == ["path", "sha256", "stamp"]
    assert list(done["result"]) == [
        *("sample_rate", "channels", "subtype", "mixture_peak", "levels", "vocals_share"),
        *("clipped_samples", "clipped_stem_samples", "closure", "weights", "notes"),
    ]
    listed = json.loads(run("--list-models", "--json").stdout.splitlines()[0])
    assert list(listed) == ["name", "parameters", "sample_rate", "licence", "where"]


def test_the_keys_of_a_report(run: Run, batch: Run) -> None:
    Path("music/bad.wav").write_text("no music")
    assert batch().exit_code == 1
    report = json.loads(run("--report", "out", "--json").stdout)
    assert list(report) == [
        *("songs", "done", "failed", "gone", "unfinished", "audio_hours", "work_hours"),
        *("times_real_time", "causes", "other_causes_songs", "slowest", "voiceless"),
        *("voiceless_songs", "silent_accompaniment", "silent_accompaniment_songs", "balance"),
        *("level", "clipped_songs", "noted_songs"),
    ]
    assert list(report["causes"][0]) == ["error", "songs", "example"]
    assert list(report["slowest"][0]) == ["input", "value"]
    assert list(report["balance"]) == ["usual_db", "spread_db", "songs", "named"]
