"""What is typed: everyday help, habits of other separators, contradictions, times."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.audio.covers import read_cover
from htmdsep.audio.output import OutputFormat
from htmdsep.audio.reader import open_audio
from htmdsep.audio.writer import open_stem
from htmdsep.cli.command import command
from htmdsep.cli.habits import ADVICE, NAMES
from htmdsep.cli.output import Bars
from htmdsep.console import BitrateRange
from htmdsep.errors import ArgumentError
from htmdsep.options import LOSSY, BatchOptions
from tests.audio.test_covers import png
from tests.batch.songs import Run
from tests.sounds import tone

RATE = 44_100


@pytest.fixture
def run(run: Run) -> Run:
    """Run the command beside a song of two seconds."""
    soundfile.write("song.wav", tone(2 * RATE, RATE, 2), RATE)
    return run


def frames(path: str) -> int:
    with open_audio(Path(path)) as reader:
        return sum(map(len, reader.blocks()))


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
        (["separate", "-p", "spleeter:2stems", "song.wav"], "separated/song/vocals.wav"),
        (["song.wav", "-f", "{instrument}.{codec}"], "separated/vocals.wav"),
        (["song.wav", "-c", "mp3", "-b", "128k"], "separated/song/vocals.mp3"),
        (["song.wav", "--mp3", "--mp3-bitrate", "320"], "separated/song/vocals.mp3"),
        (["song.wav", "--output_format=M4A", "--output_bitrate=192k"], "separated/song/vocals.m4a"),
        (["song.wav", "-c", "aac"], "separated/song/vocals.m4a"),
        (["song.wav", "-c", "ogg"], "separated/song/vocals.ogg"),
        (["song.wav", "--flac", "--shifts", "1"], "separated/song/vocals.flac"),
    ],
)
def test_habits_that_have_a_counterpart_work(run: Run, typed: list[str], stems: str) -> None:
    result = run(*typed)
    assert result.exit_code == 0, result.output
    assert frames(stems) == 2 * RATE


def as_typed(meant: str, spelling: str) -> list[str]:
    """Return an option as it may be spelt, with a value; or a value behind the option it is of."""
    for one in command.params:
        choices = [str(choice) for choice in getattr(one.type, "choices", ())]
        if meant in [name.lstrip("-") for name in one.opts]:
            dashes = "-" if len(spelling) == 1 else "--"
            return [dashes + spelling, choices[-1] if choices else "192"]
        if one.expose_value and meant in choices:
            return [one.opts[0], spelling]
    raise LookupError(meant)


@pytest.mark.parametrize(("spelling", "meant"), NAMES.items())
def test_every_spelling_means_what_it_stands_for(spelling: str, meant: str) -> None:
    spellings = (meant, spelling, spelling.replace("-", "_"))
    words = [["song.wav", *as_typed(meant, one)] for one in spellings]
    expected, *found = (command.make_context("htmdsep", one).params for one in words)
    assert found == [expected] * 2


@pytest.mark.parametrize(
    ("typed", "stems"),
    [
        ([], ["song/Lead.wav", "song/Rest.wav"]),
        (["--stems", "accompaniment"], ["song/Rest.wav"]),
        (["-f", "{track} ({stem}).{ext}"], ["song (Lead).wav", "song (Rest).wav"]),
        (["-f", "{instrument}/{track}.{codec}"], ["Lead/song.wav", "Rest/song.wav"]),
    ],
)
def test_stems_may_have_names_of_ones_own(run: Run, typed: list[str], stems: list[str]) -> None:
    result = run("song.wav", "--stem-names", "Lead, Rest", *typed, "--json")
    assert result.exit_code == 0, result.output
    places = sorted(path.as_posix() for path in Path("separated").rglob("*.wav"))
    assert places == [f"separated/{stem}" for stem in stems]
    told = json.loads(result.stdout)["stems"]  # by what they are
    assert sorted(one["path"] for one in told.values()) == places
    assert set(told) <= {"vocals", "accompaniment"}


@given(st.text(), st.text())
def test_names_of_stems_are_two_that_every_disk_takes(vocals: str, accompaniment: str) -> None:
    try:
        called = BatchOptions(stem_names=f"{vocals},{accompaniment}").called_stems()
    except ArgumentError:
        return
    one, other = called.values()
    assert (one, other) == (vocals.strip(), accompaniment.strip())
    assert one.casefold() != other.casefold()
    for name in (one, other):
        assert name and not set(name) & set('/\\:*?"<>|\0\n') and name[-1] not in " ."


@pytest.mark.parametrize(
    "names",
    [
        *("", ",", "a", "a,", "a,a", "a,A", "a,b,c", "a,..", "a,b/c", "a,b\\c", "a,b:c", "a,con"),
        *("a,b\nc", "a,b\0", "\u00e9,e\u0301", "a,b?", "a,.b"),
    ],
)
def test_names_of_stems_that_cannot_be(names: str) -> None:
    with pytest.raises(ArgumentError, match="stem_names"):
        BatchOptions(stem_names=names)


def progress_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("typed", [[], ["-q"], ["-q", "-j", "2"]])
def test_progress_for_programs(run: Run, typed: list[str]) -> None:
    """In lines of JSON, with no terminal; the last of a song tells that all of it is done."""
    shutil.copy("song.wav", "other.wav")
    result = run("song.wav", "other.wav", "--progress", "json", *typed)
    assert result.exit_code == 0 and result.stdout == ""
    lines = progress_of(result)
    assert all(set(line) == {"song", "seconds", "of", "speed"} for line in lines)
    for song in ("song.wav", "other.wav"):
        told = [line for line in lines if line["song"] == song]
        done = [line["seconds"] for line in told]
        assert done == sorted(set(done)) and told[-1]["seconds"] == told[-1]["of"] == 2.0
        assert all(line["of"] == 2.0 and line["speed"] > 0 for line in told)
    assert (len(lines) == len(result.stderr.splitlines())) == ("-q" in typed)


def test_progress_is_told_five_times_a_second_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("htmdsep.cli.output.time.monotonic", lambda: now)
    name = os.fsdecode(b"latin\xe9\n.wav")
    with Bars(shown=False, alone=False, as_json=True).song(name) as report:
        for step in range(1, 101):
            now = 100 + step / 32  # seconds; four times real time
            report(step / 8, None)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 15 and [line["seconds"] for line in lines[:2]] == [7 / 8, 14 / 8]
    assert lines[-1]["seconds"] == 12.5
    for line in lines:
        assert line["speed"] == 4 and line["of"] is None and line["song"] == "latin\ufffd\n.wav"
        assert os.fsdecode(bytes.fromhex(line["song_bytes"])) == name


@pytest.mark.usefixtures("run")
def test_the_readme_shows_a_bar_in_ten_lines(tiny_weights: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n([^`]*--progress[^`]*)```", readme)
    lines = [line for line in example.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 10
    program = [sys.executable, "-c", example, "song.wav", "--weights", str(tiny_weights)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *_, last = done.stdout.split("\r")
    assert "100 %" in last and "song.wav" in last
    assert Path("separated/song/vocals.wav").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["-p", "spleeter:5stems"], "leave -p out"),
        (["-f", "{instrument}.mp3"], "end it in {ext}, or give --format"),
        (["-b", "128k"], "wav has no bit rate; use --format mp3, opus, m4a, ogg"),
        (["--mp3", "--int24"], "mp3 has no bit depth"),
        (["--mp3", "--flac"], "give --mp3 or --flac, not both"),
        (["--mp3", "-c", "wav"], "give --mp3 or -c, not both"),
        (["--mp3", "-b", "1000"], "1000 is not in the range 16<=x<=512"),
        *(([flag], told) for flag, told in ADVICE.items()),
        (["-d", "2"], "seconds are given with --duration"),
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
        (["--log_level=debug"], "set by -v and -q"),
        (["--startt", "1"], "No such option"),
        (["--format", "wma"], "'wma' is not one of"),
        (["--overlap", "1"], "not in the range"),
        (["--segment", "0"], "not in the range"),
        (["--flac", "--float32"], "FLAC holds no floats"),
        (["--clip-mode", "none", "--int16"], "needs --float32"),
        (["--name", "htmdnet"], "give --name or --weights, not both"),
        (["-o", "-"], "standard output takes one stem"),
        (["-o", "-", "--stems", "vocals", "--json"], "standard output takes one stem"),
        (["copy/song.wav", "-o", "-", "--stems", "vocals"], "of one input, not of 2"),
        (["copy/song.wav"], "would both be written to separated/song/vocals.wav"),
        (["--stem-names", "Vocals"], "must be two different names"),
        (["--stem-names", "a,b/c"], "not safe in a file's name"),
        (["--on", "ray", "--progress", "json"], "use --json, not --progress"),
        (["--on", "ray", "-"], "takes files and folders, not standard input or output"),
        (["--on", "ray", "-o", "-"], "takes files and folders, not standard input or output"),
        (["-", "--from", "-"], "a list (--from -) or audio (-), not both"),
        (["--filename", "{artist}"], "known fields"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_says_what_to_type(
    run: Run, typed: list[str], message: str
) -> None:
    Path("copy").mkdir()
    shutil.copy("song.wav", "copy/song.wav")
    result = run("song.wav", *typed)
    assert result.exit_code == 2
    assert message in result.stderr and "Did you mean" not in result.stderr
    assert {str(path) for path in Path().rglob("*")} == {"song.wav", "copy", "copy/song.wav"}


def test_a_terminal_gets_no_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(click.UsageError, match="standard output is a terminal"):
        command.main(["song.wav", "-o", "-", "--stems", "vocals"], standalone_mode=False)


def test_without_a_song_there_is_nothing_to_separate(run: Run) -> None:
    result = run()
    assert result.exit_code == 2 and "nothing to separate" in result.stderr


def test_a_network_of_another_separator_is_answered_with_those_there_are(run: Run) -> None:
    assert run("song.wav").exit_code == 0
    result = CliRunner().invoke(command, ["song.wav", "-n", "htdemucs", "-o", "other"])
    assert result.exit_code == 1 and "no weights named 'htdemucs'; known: " in result.stderr


def test_one_flag_twice_is_no_contradiction(run: Run) -> None:
    assert run("song.wav", "--int24", "--int24").exit_code == 0


@pytest.mark.parametrize("typed", ["-l", "--list_models"])
def test_networks_are_listed_by_what_others_type(typed: str) -> None:
    assert "spectral (default)" in CliRunner().invoke(command, [typed]).stdout


@pytest.mark.parametrize("typed", ["192", "192k", "192K", "192000"])
def test_bit_rates_as_people_write_them(typed: str) -> None:
    assert BitrateRange(16, 512).convert(typed, None, None) == 192


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_it(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_HTMDSEP_COMPLETE", f"{shell}_source")
    result = CliRunner().invoke(command, [], prog_name="htmdsep")
    assert result.exit_code == 0 and "_HTMDSEP_COMPLETE" in result.stdout
    monkeypatch.setenv("_HTMDSEP_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "htmdsep --bit")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert "--bitrate" in CliRunner().invoke(command, [], prog_name="htmdsep").stdout


@pytest.mark.parametrize("file_format", LOSSY)
def test_lossy_stems_say_that_they_are(run: Run, file_format: str) -> None:
    result = run("song.wav", "-c", file_format, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    rate = 48_000 if file_format == "opus" else RATE
    assert record["closure"] is None and record["sample_rate"] == rate
    resampled = ["opus holds no 44100 Hz: the stems are resampled to 48000 Hz"]
    lossy = f"{file_format} is lossy: the stems add up but for what coding loses"
    assert record["notes"] == [*(resampled if file_format == "opus" else []), lossy]
    for stem in record["stems"].values():
        assert frames(stem["path"]) == 2 * rate


def test_the_cover_and_the_tags_go_along(run: Run) -> None:
    tags = {"title": "A song", "bpm": "128", "initialkey": "Am", "lyrics": "la\nla"}
    tags["replaygain_track_gain"] = "-7.10 dB"
    output = OutputFormat("flac", "PCM_16", RATE, 1, None, "clamp", tags, png(16))
    with open_stem(Path("song.flac"), output) as writer:
        writer.write(np.ones((RATE, 1), np.int16))
    for file_format in ("flac", "mp3", "m4a", "wav"):
        assert run("song.flac", "-c", file_format).exit_code == 0
        stem = Path(f"separated/song/accompaniment.{file_format}")
        assert read_cover(stem) == png(16)
        with open_audio(stem) as reader:
            assert reader.header.tags.items() >= tags.items()


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
