"""Options are fields: each is a flag, has limits for Python too, and counts in the hash."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.cli.command import command
from htmdsep.console import TimeRange, flags, options_from
from htmdsep.errors import HtmdsepError
from htmdsep.options import (
    ROUNDING_OR_SPEED,
    BatchOptions,
    ClusterOptions,
    RunOptions,
    option,
)

# Another value than the default of every field
OTHERS: dict[str, Any] = {
    "file_format": "flac",
    "bitrate": 192,
    "subtype": "PCM_24",
    "sample_rate": 48_000,
    "start_seconds": 1.5,
    "duration_seconds": 2.0,
    "clip_mode": "rescale",
    "loudness": -14.0,
    "device": "cpu",
    "shifts": 1,
    "segment_seconds": 3.0,
    "overlap": 0.5,
    "batch_size": 2,
    "precision": "fp32",
    "engine": "torch",
    "threads": 3,
}


@pytest.mark.parametrize("name", [one.name for one in fields(RunOptions)])
def test_every_option_that_changes_the_stems_changes_the_hash(name: str) -> None:
    plain = RunOptions(file_format="mp3") if name == "bitrate" else RunOptions()
    changed = replace(plain, **{name: OTHERS[name]})
    assert (changed.sha256() == plain.sha256()) == (name in ROUNDING_OR_SPEED)


def test_a_later_option_counts_where_it_is_not_left_as_it_is() -> None:
    @dataclass(frozen=True)
    class Later(RunOptions):
        later: int = option(3, "Of a later version.")

    assert Later().sha256() == RunOptions().sha256() != Later(later=4).sha256()


@pytest.mark.parametrize("kind", [RunOptions, BatchOptions, ClusterOptions])
def test_every_described_field_is_a_flag_of_the_command(kind: type) -> None:
    known = {parameter.name for parameter in command.params}
    described = {one.name for one in fields(kind) if "flag" in one.metadata}
    assert described and described <= known


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "overlap": st.floats(0, 0.9),
            "shifts": st.integers(0, 3),
            "threads": st.integers(1, 64),
            "file_format": st.sampled_from(["wav", "flac"]),
            "subtype": st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
            "start_seconds": st.floats(0, 1e6),
        },
    ).filter(lambda given: not {"flac", "FLOAT"} <= set(given.values()))
)
def test_what_is_typed_is_what_is_given(given_values: dict[str, Any]) -> None:
    spelt = {"file_format": "--format", "start_seconds": "--start"}
    depths = {"PCM_16": "--int16", "PCM_24": "--int24", "FLOAT": "--float32"}
    arguments: list[str] = []
    for name, value in given_values.items():
        if name == "subtype":
            arguments.append(depths[value])
        else:
            arguments += [spelt.get(name, f"--{name}"), repr(value).strip("'")]
    found: list[RunOptions] = []

    @click.command()
    @flags(RunOptions)
    def run(**values: Any) -> None:
        found.append(options_from(RunOptions, values))

    result = CliRunner().invoke(run, arguments)
    assert result.exit_code == 0, result.output
    assert found == [RunOptions(**given_values)]


@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (RunOptions, "bitrate", 128, "wav has no bit rate; use --format mp3, opus, m4a, ogg"),
        (RunOptions, "clip_mode", "other", "clip_mode must be one of clamp, rescale, none"),
        (RunOptions, "overlap", 1.0, "overlap must lie between 0 and 0.9, not 1.0"),
        (RunOptions, "threads", 0, "threads must be at least 1, not 0"),
        (RunOptions, "subtype", "PCM_32", "subtype must be one of PCM_16, PCM_24, FLOAT"),
        (RunOptions, "start_seconds", float("nan"), "start_seconds must be at least 0"),
        (BatchOptions, "stems", "drums", "stems must be one of vocals, accompaniment, both"),
        (BatchOptions, "retries", -1, "retries must be at least 0"),
        (ClusterOptions, "actor_cpus", 0, "actor_cpus must be above 0"),
        (RunOptions, "shifts", "1", "shifts must be a whole number, not '1'"),
        (RunOptions, "sample_rate", 44100.5, "sample_rate must be a whole number, not 44100.5"),
        (RunOptions, "start_seconds", "1:30", "start_seconds must be a number, not '1:30'"),
        (BatchOptions, "recursive", "no", "recursive must be True or False, not 'no'"),
        (BatchOptions, "out", Path("x"), "out must be a string, not "),
        (BatchOptions, "inputs", "song.wav", "inputs must be several strings, not 'song.wav'"),
        (BatchOptions, "inputs", (Path("x"),), "inputs must be several strings, not "),
    ],
)
def test_limits_hold_in_python_too(kind: type, name: str, value: Any, message: str) -> None:
    with pytest.raises(HtmdsepError, match=message):
        kind(**{name: value})


@given(st.integers(0, 99), st.integers(0, 59), st.floats(0, 59).map(lambda x: round(x, 3)))
def test_times_as_people_write_them(hours: int, minutes: int, seconds: float) -> None:
    def read(text: str) -> float:
        return float(TimeRange(0).convert(text, None, None))

    total = hours * 3600 + minutes * 60 + seconds
    assert read(f"{hours}:{minutes:02}:{seconds}") == pytest.approx(total)
    assert read(f"{hours * 60 + minutes}:{seconds}") == pytest.approx(total)
    assert read(f"{total}s") == read(f" {total}") == pytest.approx(total)


@pytest.mark.parametrize("text", ["", "1:60", "1:2:3:4", "1:-2", "a", "-1", "nan", "1e999"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter):
        TimeRange(0).convert(text, None, None)
