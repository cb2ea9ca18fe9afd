"""One gain for both stems: the files' sum has the loudness asked for, and is the mixture's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from htmdsep.audio.loudness import integrated_loudness
from htmdsep.audio.output import OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.writer import open_stem
from htmdsep.cli.command import command
from htmdsep.options import RunOptions
from htmdsep.separation.arrays import Stems
from tests.sounds import tone

RATE = 44_100
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Separate a song of some -14 LUFS with tiny weights, and return what JSON tells."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    signal = 0.4 * tone(2 * RATE, RATE, 2, 300.0) + 0.1 * rng.standard_normal((2 * RATE, 2))
    soundfile.write("song.wav", signal, RATE, "FLOAT")

    def call(*arguments: str) -> dict[str, Any]:
        typed = ["song.wav", "--weights", str(tiny_weights), "--json", "--overwrite", *arguments]
        result = CliRunner().invoke(command, typed)
        assert result.exit_code == 0, result.output
        record: dict[str, Any] = json.loads(result.stdout)
        return record

    return call


def total(record: dict[str, Any]) -> np.ndarray:
    paths = (record["stems"][stem]["path"] for stem in ("vocals", "accompaniment"))
    signal: np.ndarray = sum(soundfile.read(path, dtype="float64")[0] for path in paths)
    return signal


def loudness_of(signal: np.ndarray) -> float:
    found = integrated_loudness([signal.astype(np.float32)], RATE)
    assert found is not None
    return found


@pytest.mark.parametrize("target", [-35.0, -23.0, -16.5])
@pytest.mark.parametrize(
    ("flags", "step"),
    [(["--int16"], 2**-15), (["--float32"], 2**-23), (["-c", "flac", "--int24"], 2**-23)],
)
def test_the_sum_is_as_loud_as_asked(
    run: Run, target: float, flags: list[str], step: float
) -> None:
    record = run("--loudness", str(target), *flags)
    mixture, _ = soundfile.read("song.wav")
    assert record["loudness"] == pytest.approx(loudness_of(mixture), abs=0.01)
    assert record["closure"] is True and record["clipped_samples"] == 0
    assert loudness_of(total(record)) == pytest.approx(target, abs=0.1)
    assert np.abs(total(record) - record["gain"] * mixture).max() <= 0.6 * step + 1e-7
    decibels = 20 * np.log10(record["gain"])
    assert f"both stems have a gain of {decibels:+.1f} dB" in record["notes"][0]


def test_lossy_stems_are_as_loud_too(run: Run) -> None:
    record = run("--loudness", "-18", "-c", "mp3")
    assert loudness_of(total(record)) == pytest.approx(-18, abs=0.3)  # noise above 20 kHz is lost


def test_beyond_full_scale_it_is_clamped_and_told(run: Run) -> None:
    record = run("--loudness", "0", "--int16")
    assert record["closure"] is True and record["clipped_samples"] > 1_000
    assert np.abs(total(record)).max() <= 1
    assert any("beyond full scale and were clipped" in note for note in record["notes"])


@pytest.mark.parametrize("depth", ["--int16", "--float32"])
def test_rescaling_gives_as_much_as_full_scale_allows(run: Run, depth: str) -> None:
    record = run("--loudness", "0", depth, "--clip-mode", "rescale")
    assert record["closure"] is True and record["clipped_samples"] == 0 < record["gain"]
    signals = [total(record)]
    signals += [soundfile.read(stem["path"])[0] for stem in record["stems"].values()]
    assert 0.999 < max(np.abs(signal).max() for signal in signals) <= 1
    reached = loudness_of(total(record))
    assert f"for {reached:.1f} LUFS: more would pass full scale" in record["notes"][0]
    quiet = run("--loudness", "-30", depth, "--clip-mode", "rescale")
    assert loudness_of(total(quiet)) == pytest.approx(-30, abs=0.1)


def test_floats_go_beyond_full_scale(run: Run) -> None:
    record = run("--loudness", "0", "--float32")
    assert loudness_of(total(record)) == pytest.approx(0, abs=0.1)


def test_silence_stays(run: Run) -> None:
    soundfile.write("song.wav", np.zeros((RATE, 2)), RATE, "PCM_16")
    record = run("--loudness", "-14")
    assert record["gain"] == 1 and record["loudness"] is None
    assert record["notes"] == ["it is too quiet or too short to have a loudness; its level is kept"]
    assert not total(record).any()


def test_what_tells_the_songs_level_goes_where_that_is_changed(run: Run) -> None:
    tags = {"title": "a", "replaygain_track_gain": "-7.10 dB"}
    signal = np.rint(2**14 * tone(RATE, RATE, 2)).astype(np.int16)
    output = OutputFormat("wav", "PCM_16", RATE, 2, RATE, "clamp", tags)
    with open_stem(Path("song.wav"), output) as writer:
        writer.write(signal)
    for flags, expected in (([], tags), (["--loudness", "-14"], {"title": "a"})):
        record = run("-c", "flac", *flags)
        with open_audio(Path(record["stems"]["vocals"]["path"])) as reader:
            assert reader.header.tags == expected


def test_stems_in_memory(tmp_path: Path) -> None:
    vocals = tone(2 * RATE, RATE, 1)
    stems = Stems(vocals[:, 0], 0.1 * vocals[:, 0], RATE)
    report = stems.write(tmp_path / "out", RunOptions(loudness=-20.0))
    written = sum(soundfile.read(stem.path)[0] for stem in report.stems.values())
    assert loudness_of(written[:, None]) == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize("typed", ["1", "-61", "loud"])
def test_what_no_loudness_is(typed: str) -> None:
    result = CliRunner().invoke(command, ["song.wav", "--loudness", typed])
    assert result.exit_code == 2 and "--loudness" in result.output
