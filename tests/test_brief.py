"""One short song is not made to wait for PyTorch's import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from htmdsep.brief import BRIEF_SECONDS
from htmdsep.cli import command
from htmdsep.errors import PlanError
from htmdsep.settings import Settings
from tests.sounds import tone

RATE = 8_000
LONG_SECONDS = int(BRIEF_SECONDS) + 1


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for name, seconds in (("short.wav", 2), ("other.flac", 2), ("long.flac", LONG_SECONDS)):
        soundfile.write(tmp_path / name, tone(seconds * RATE, RATE), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    return tmp_path


def precision_for(arguments: str, songs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the network is asked for on a processor made for bf16."""
    asked: list[Settings] = []

    def pick_engine(settings: Settings) -> None:
        asked.append(settings)
        raise PlanError("enough is known")

    monkeypatch.setattr("htmdsep.precision.has_bf16", lambda: True)
    monkeypatch.setattr("htmdsep.session.pick_engine", pick_engine)
    monkeypatch.chdir(songs)
    result = CliRunner().invoke(command, f"{arguments} -o out --device cpu".split())
    assert "enough is known" in result.output
    return asked[0].precision


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("short.wav", "fp32"),
        ("other.flac", "fp32"),
        ("long.flac", "auto"),
        ("long.flac --start 1", "fp32"),
        ("long.flac --duration 3", "fp32"),
        ("short.wav other.flac", "auto"),
        ("short.wav --precision bf16", "bf16"),
        ("short.wav --engine torch", "auto"),
        ("short.wav --start 99", "fp32"),
        ("broken.wav", "auto"),
        ("absent.wav", "auto"),
    ],
)
def test_one_short_song_has_fp32_where_nothing_else_is_asked_for(
    arguments: str, expected: str, songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert precision_for(arguments, songs, monkeypatch) == expected


def test_weights_that_need_pytorch_anyway_have_bf16(
    songs: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert precision_for(f"short.wav --weights {tiny_weights}", songs, monkeypatch) == "auto"


def test_a_processor_without_bf16_needs_no_look_at_the_song(
    songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htmdsep.brief.open_audio", None)
    monkeypatch.chdir(songs)
    result = CliRunner().invoke(command, ["short.wav", "-o", "out", "--device", "cpu"])
    assert result.exit_code == 0, result.output


def test_a_short_song_is_done_without_pytorch(songs: Path) -> None:
    script = """
import sys
import htmdsep.precision
from htmdsep.cli import command
htmdsep.precision.has_bf16 = lambda: True
try:
    command(["short.wav", "-o", "out", "--device", "cpu"])
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=songs, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"], done.stderr
    assert (songs / "out" / "short" / "vocals.wav").is_file()
