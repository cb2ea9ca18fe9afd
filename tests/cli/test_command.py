"""What is typed: everyday help, habits of other separators, contradictions, times."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from htmdsep.cli.command import command
from tests.sounds import tone

RATE = 44_100
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with tiny weights, beside a song of two seconds."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", tone(2 * RATE, RATE, 2), RATE)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["--weights", str(tiny_weights), *arguments])

    return call


def frames(path: str) -> int:
    return int(soundfile.info(path).frames)


def test_the_help_begins_with_what_is_used_every_day() -> None:
    shown = CliRunner().invoke(command, ["--help"], terminal_width=100).output
    parts = re.split(r"\n\n(?=[A-Z][\w ]+:\n)", shown)
    titles = [part.partition(":")[0] for part in parts[1:]]
    assert titles == [
        *("Options", "Output", "Network", "Batches and catalogues", "Cluster", "Information")
    ]
    everyday = re.findall(r"^  (?:-\w, )?--", parts[1], re.MULTILINE)
    assert 8 <= len(everyday) <= 12
    for flag in ("--out", "--stems", "--recursive", "--format", "--start", "--name", "--help"):
        assert flag in parts[1]


@pytest.mark.parametrize(
    ("typed", "stems"),
    [
        (["separate", "song.wav"], "separated/song/vocals.wav"),
        (["-i", "song.wav"], "separated/song/vocals.wav"),
        (["song.wav", "--single_stem", "Vocals"], "separated/song/vocals.wav"),
        (["song.wav", "--output_format", "FLAC"], "separated/song/vocals.flac"),
        (["song.wav", "--output_dir", "x"], "x/song/vocals.wav"),
        (["song.wav", "--filename_format", "{instrument}.{codec}"], "separated/vocals.wav"),
        (["song.wav", "--two-stems", "vocals", "--threads", "1"], "separated/song/vocals.wav"),
    ],
)
def test_habits_that_have_a_counterpart_work(run: Run, typed: list[str], stems: str) -> None:
    result = run(*typed)
    assert result.exit_code == 0, result.output
    assert frames(stems) == 2 * RATE


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["-p", "spleeter:2stems"], "leave -p out"),
        (["-f", "{instrument}.wav"], "given with --filename"),
        (["-b", "128k"], "--int16, --int24 and --float32"),
        (["-l"], "--list-models"),
        (["--mp3"], "give --flac"),
        (["--no-split"], "--segment"),
        (["-d", "2"], "of seconds speaks --duration"),
        (["--int24", "--float32"], "give --int24 or --float32, not both"),
        (["--skip-existing", "--overwrite"], "give --skip-existing or --overwrite, not both"),
        (["--verify"], "--verify needs --resume"),
        (["-o", "song.mp3"], "--out names a folder"),
        (["--out="], "--out is empty"),
        (["--start", "1", "--end", "1"], "--end behind --start"),
        (["--end", "1", "--duration", "1"], "no --duration beside it"),
        (["--start", "1:75"], "write 90, 1:30 or 1:02:03.5"),
        (["--filename", "../{stem}.{ext}"], "leave .. out"),
        (["--ray-address", "auto"], "needs --on ray"),
        (["--startt", "1"], "No such option"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_says_what_to_type(
    run: Run, typed: list[str], message: str
) -> None:
    result = run("song.wav", *typed)
    assert result.exit_code == 2
    assert message in result.stderr and "Did you mean" not in result.stderr
    assert [path.name for path in Path().iterdir() if path.is_file()] == ["song.wav"]
    assert not Path("separated").exists()


def test_a_network_of_another_separator_is_answered_with_those_there_are(run: Run) -> None:
    assert run("song.wav").exit_code == 0
    result = CliRunner().invoke(command, ["song.wav", "-n", "htdemucs", "-o", "other"])
    assert result.exit_code == 1 and "no weights named 'htdemucs'; known: " in result.stderr


def test_one_flag_twice_is_no_contradiction(run: Run) -> None:
    assert run("song.wav", "--int24", "--int24").exit_code == 0


def test_help_by_a_word() -> None:
    assert CliRunner().invoke(command, ["help"]).output.startswith("Usage: ")


@pytest.mark.parametrize(
    "typed", [["--start", "0:00.5", "--end", "1.5s"], ["--start", "0.5s", "--duration", "0:01"]]
)
def test_an_excerpt_by_times(run: Run, typed: list[str]) -> None:
    assert run("song.wav", *typed).exit_code == 0
    assert frames("separated/song/vocals.wav") == RATE


def test_an_absent_song_is_not_passed_over_for_its_stems(run: Run) -> None:
    assert run("song.wav").exit_code == 0
    Path("song.wav").unlink()
    for more in ([], ["--skip-existing"], ["--resume"]):
        result = run("song.wav", *more)
        assert result.exit_code == 1 and "song.wav: no such file" in result.stderr
