"""Result files, and what they sum up to."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.pictures import draw_boxplots
from htmdsep.evaluation.results import (
    COLUMNS,
    ResultsFolder,
    bootstrap_median,
    read_results,
    summarise_scores,
    wilcoxon,
)
from htmdsep.evaluation.scores import GROUPS, NUMBERS, score_segments, score_v4
from htmdsep.evaluation.signals import Signals
from htmdsep.evaluation.tables import summary_markdown, titled
from htmdsep.separation.arrays import Stems
from tests.evaluation.signals import RATE, song
from tests.metrics.references import museval_file

TITLES = ("NA", "caf\udce9", 'a "song", of $2', "nan")  # \udce9: a byte of Latin-1
DESCRIPTION = {"fingerprint": "a", "settings": ["mono"], "segment_seconds": 1.0, "masked": False}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Scores of a song of 3.2 s whose estimate is silent for the first."""
    signals = Signals(*song(np.random.default_rng(2), 3.2), RATE)
    estimate = signals.vocals + 0.3 * signals.accompaniment
    estimate[:RATE] = 0
    stems = Stems(estimate, signals.mixture - estimate, signals.sample_rate)
    parts = [score_v4(signals, stems, "mono"), score_segments(signals, stems, 1.0)]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def stored(tmp_path: Path, scores: pd.DataFrame) -> ResultsFolder:
    folder = ResultsFolder(tmp_path)
    folder.describe("method", DESCRIPTION)
    for title in TITLES:
        folder.write("method", title, scores)
    return folder


def test_the_header_is_what_it_was(stored: ResultsFolder) -> None:
    header, first, *_ = stored.scores_path("method", "NA").read_bytes().split(b"\r\n")
    assert header.decode() == (
        "song,system,setting,procedure,target,start_seconds,duration_seconds,sdr,isr,sir,sar,"
        "si_sdr,pes,pes_zeros,eps,vad_equal,vad_frames"
    )
    assert first == b"NA,method,mono,v4,vocals,0.0,1.0" + 10 * b",nan"


def test_scores_come_back_to_the_last_bit_whatever_the_title(
    stored: ResultsFolder, scores: pd.DataFrame
) -> None:
    found = stored.read()
    assert tuple(found.columns) == COLUMNS
    assert set(found["song"]) == set(TITLES) and set(found["system"]) == {"method"}
    for _, rows in found.groupby("song"):
        assert (rows[[*GROUPS]].to_numpy() == scores[[*GROUPS]].to_numpy()).all()
        np.testing.assert_array_equal(rows[[*NUMBERS]], scores[[*NUMBERS]].round(6))


@given(
    values=st.lists(
        st.floats(-1e290, 1e290) | st.sampled_from([math.inf, -math.inf, math.nan]),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_float_comes_back(
    tmp_path_factory: pytest.TempPathFactory, scores: pd.DataFrame, values: list[float]
) -> None:
    folder = ResultsFolder(tmp_path_factory.mktemp("results"))
    folder.describe("x", DESCRIPTION)
    rows = scores.iloc[: len(values)].assign(sdr=values)
    folder.write("x", "a", rows)
    np.testing.assert_array_equal(folder.read()["sdr"], rows["sdr"].round(6))


def test_the_museval_file_fits_its_schema_and_holds_the_same(stored: ResultsFolder) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    path = stored.path / "museval" / "mono" / "method" / "test" / "NA.json"
    document = json.loads(path.read_text())
    schema = json.loads(museval_file("musdb.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [target["name"] for target in document["targets"]] == ["vocals", "accompaniment"]
    frames = document["targets"][0]["frames"]
    assert [(frame["time"], frame["duration"]) for frame in frames] == [(0, 1), (1, 1), (2, 1)]
    table = stored.read().query("procedure == 'v4' and target == 'vocals' and song == 'NA'")
    for name in ("sdr", "isr", "sir", "sar"):
        found = [frame["metrics"][name.upper()] for frame in frames]
        expected = table[name].where(np.isfinite(table[name]))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("text", ["", "song,system\r\na,b\r\n", "{header}\r\na,b,c\r\n", "{cut}"])
def test_files_that_are_no_scores_are_named(stored: ResultsFolder, text: str) -> None:
    path = stored.scores_path("method", "broken")
    cut = stored.scores_path("method", "nan").read_text()[:-20]
    path.write_text(text.format(header=",".join(COLUMNS), cut=cut))
    with pytest.raises(HtmdsepError, match=r"broken\.csv is no result of this version"):
        stored.read()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{cut", "cannot read"),
        ("[]", "order cannot be None"),
        ("null", "cannot read"),
        ('"text"', "cannot read"),
        ("\udce9", "cannot read"),  # a byte of Latin-1
        ('{"order": "first"}', "order cannot be 'first'"),
        ('{"masked": 1}', "masked cannot be 1"),
        ('{"masked": true}', "final cannot be None"),
        ('{"losses": ["mse"]}', "losses cannot be"),
        ('{"settings": 1}', "settings cannot be 1"),
    ],
)
def test_a_description_that_a_hand_has_spoilt_is_named(
    stored: ResultsFolder, text: str, told: str
) -> None:
    path = stored.scores_path("method", "NA").with_name("system.json")
    known = json.loads(path.read_text())
    if text.startswith('{"'):
        text = json.dumps({**known, **json.loads(text)})
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for use in (lambda: read_results(stored), lambda: stored.describe("method", DESCRIPTION)):
        with pytest.raises(HtmdsepError, match=rf"{told}.*; mend it, or remove .*method"):
            use()


def test_scores_of_one_label_do_not_mix(stored: ResultsFolder) -> None:
    stored.describe("method", DESCRIPTION)
    with pytest.raises(HtmdsepError, match="scores with fingerprint 'a', not 'b'"):
        stored.describe("method", {**DESCRIPTION, "fingerprint": "b"})
    stored.describe("a later one", DESCRIPTION)
    assert [*stored.descriptions()] == ["method", "a later one"]


def test_a_bar_in_a_name_is_no_border_of_a_cell() -> None:
    table = titled("Title", "Text", ["system", "SDR"], [["a|b", "1"]])
    assert table.splitlines()[-1] == "| a\\|b | 1 |"


def test_results_of_a_folder(stored: ResultsFolder, scores: pd.DataFrame) -> None:
    results = read_results(stored)
    vocals = scores.query("procedure == 'segments' and target == 'vocals'")
    assert len(results.select("mono", "segments")) == len(TITLES) * len(vocals)
    summary = results.summary("method", "mono", "segments", "vocals", "sdr")
    expected = vocals["sdr"].round(6).median()
    assert summary.song_median == summary.pooled_median == pytest.approx(expected)
    assert (summary.songs, summary.frames, summary.left_out) == (4, 8, 4)
    assert results.summary("method", "native", "v4", "vocals", "sdr").frames == 0


def test_segments_of_other_lengths_are_told_and_never_paired(
    stored: ResultsFolder, scores: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(Figure, "suptitle", lambda _, text, **__: titles.append(text))
    for name in ("a", "b"):
        stored.describe(name, {**DESCRIPTION, "segment_seconds": 0.5})
        stored.write(name, "NA", scores.replace({"duration_seconds": 1.0}, 0.5))
    results = read_results(stored)
    rows = summary_markdown(results, None).splitlines()
    cells = {row.split("|")[1].strip(): row.split("|")[2] for row in rows if " / " in row}
    assert "(0)" in cells["method / a"] and "(0)" not in cells["a / b"]
    for procedure in ("segments", "v4"):
        draw_boxplots(results, stored.path / "boxes.png", "mono", procedure)
    assert "segments of 0.5 and 1 s" in titles[0] and "frames of 1 s" in titles[1]


def test_a_summary_leaves_out_what_is_not_finite_and_counts_it() -> None:
    songs = pd.Series(["a"] * 3 + ["b"] * 2 + ["c"])
    values = pd.Series([1.0, np.nan, 3.0, 5.0, np.inf, np.nan])
    summary = summarise_scores(songs, values)
    assert (summary.song_median, summary.pooled_median, summary.pooled_mean) == (3.5, 3.0, 3.0)
    assert (summary.frames, summary.left_out, summary.songs) == (3, 3, 2)
    assert summary.song_interval == (2.0, 5.0)
    nothing = summarise_scores(songs[5:], values[5:])
    assert np.isnan([nothing.song_median, nothing.pooled_mean, *nothing.song_interval]).all()
    assert (nothing.songs, nothing.left_out) == (0, 1)


def test_the_interval_of_a_median_covers_it(rng: np.random.Generator) -> None:
    """Of 20 sets of 20 songs around 3 dB, the 95 % interval misses 3 dB in few."""
    missed = 0
    for _ in range(20):
        lower, upper = bootstrap_median(list(rng.normal(3, 2, (20, 1))))
        missed += not lower <= 3 <= upper
    assert missed <= 4


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_pooled_interval_lies_within_the_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    songs = [rng.normal(0, 1, rng.integers(1, 9)) for _ in range(rng.integers(2, 6))]
    lower, upper = bootstrap_median(songs)
    assert min(map(np.median, songs)) <= lower <= upper <= max(map(np.median, songs))


def test_wilcoxon_on_pairs(rng: np.random.Generator) -> None:
    first = rng.normal(0, 1, 60)
    p, pairs = wilcoxon(first, first + 0.5 + 0.1 * rng.normal(0, 1, 60))
    assert p < 1e-6 and pairs == 60
    assert wilcoxon(first, first + rng.normal(0, 1, 60))[0] > 1e-3
    first[:3] = np.nan
    p, pairs = wilcoxon(first, first)
    assert np.isnan(p) and pairs == 57
    # Five pairs, all in one direction: p = 2 / 2^5 exactly.
    assert wilcoxon(np.arange(5.0), np.arange(5.0) - np.arange(1.0, 6.0))[0] == pytest.approx(
        2 / 32
    )
