"""Songs, estimates and results in files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.estimates import find_estimate, fit_estimate
from htmdsep.evaluation.results import COLUMNS, Folder
from htmdsep.evaluation.scores import score_segments, score_v4
from htmdsep.evaluation.signals import MONO_RATE, Signals, read_song
from htmdsep.folders import find_test_songs
from htmdsep.separator import Stems
from tests.evaluation.references import museval_file
from tests.evaluation.signals import RATE, song
from tests.sounds import tone


def write(path: Path, signal: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, rate, "FLOAT")
    return path


def test_a_song_is_read_as_it_is_and_in_mono(songs: Path) -> None:
    signals = read_song(find_test_songs(songs)[0])
    assert (signals.vocals.shape, signals.sample_rate) == ((int(2.6 * RATE), 2), RATE)
    mono = signals.mono()
    np.testing.assert_allclose(mono.mixture[:, 0], signals.mixture.mean(axis=1), atol=1e-6)


def test_a_song_of_another_rate_is_resampled_for_mono(tmp_path: Path) -> None:
    for name in ("vocals", "accompaniment"):
        write(tmp_path / "a" / f"{name}.wav", tone(44_100, 44_100, 2), 44_100)
    signals = read_song(find_test_songs(tmp_path)[0])
    assert signals.sample_rate == 44_100
    assert signals.mono().vocals.shape == (MONO_RATE, 1)


@pytest.mark.parametrize(
    ("frames", "rate", "channels", "message"),
    [
        (RATE // 2, RATE, 1, "different length"),
        (RATE, 8000, 1, "convert them to the same"),
        (RATE, RATE, 2, "convert them to the same"),
    ],
)
def test_stems_that_do_not_fit_are_refused(
    tmp_path: Path, frames: int, rate: int, channels: int, message: str
) -> None:
    write(tmp_path / "a" / "vocals.wav", tone(RATE, RATE))
    write(tmp_path / "a" / "accompaniment.wav", tone(frames, rate, channels), rate)
    with pytest.raises(HtmdsepError, match=message):
        read_song(find_test_songs(tmp_path)[0])


def test_an_encoders_padding_is_cut_off(tmp_path: Path) -> None:
    write(tmp_path / "a" / "vocals.wav", tone(RATE, RATE))
    write(tmp_path / "a" / "accompaniment.wav", tone(RATE + 1105, RATE))
    assert read_song(find_test_songs(tmp_path)[0]).mixture.shape == (RATE, 1)


def test_songs_are_found_in_every_layout(tmp_path: Path, songs: Path) -> None:
    assert [one.title for one in find_test_songs(songs)] == ["one", "two"]
    assert [one.title for one in find_test_songs(songs / "songs")] == ["one", "two"]
    (tmp_path / "test").mkdir()
    (tmp_path / "train").mkdir()
    (tmp_path / "test" / "A - B.stem.mp4").touch()
    (tmp_path / "train" / "C - D.stem.mp4").touch()
    assert [one.title for one in find_test_songs(tmp_path)] == ["A - B"]
    assert [one.title for one in find_test_songs(tmp_path, "train")] == ["C - D"]
    with pytest.raises(HtmdsepError, match="no song found"):
        find_test_songs(tmp_path / "test" / "nothing")


def silence(frames: int, channels: int, rate: int = RATE) -> Signals:
    zeros = np.zeros((frames, channels), np.float32)
    return Signals(zeros, zeros, rate)


@pytest.mark.parametrize(
    "name",
    ["song/vocals.wav", "test/song/vocals.flac", "song.stem/vocals.wav"],
)
def test_estimates_are_found_where_programs_put_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_estimate(tmp_path, "song", "vocals") == path
    assert find_estimate(tmp_path, "song", "accompaniment", needed=False) is None
    other = path.with_name("no_vocals.wav")
    other.touch()
    assert find_estimate(tmp_path, "song", "accompaniment") == other


def test_estimates_that_are_missing_or_doubled_are_named(tmp_path: Path) -> None:
    with pytest.raises(HtmdsepError, match="no estimate of 'song'"):
        find_estimate(tmp_path, "song", "vocals")
    for suffix in ("wav", "mp3"):
        (tmp_path / "song").mkdir(exist_ok=True)
        (tmp_path / "song" / f"vocals.{suffix}").touch()
    with pytest.raises(HtmdsepError, match="more than one file"):
        find_estimate(tmp_path, "song", "vocals")


@pytest.mark.parametrize("off", [-1, 1, 1000])
def test_estimates_of_another_length_are_refused(tmp_path: Path, off: int) -> None:
    path = write(tmp_path / "vocals.wav", tone(RATE + off, RATE))
    with pytest.raises(HtmdsepError, match=rf"{RATE + off} frames, the song {RATE}"):
        fit_estimate(path, silence(RATE, 1))


def test_estimates_of_another_rate_are_converted(tmp_path: Path) -> None:
    path = write(tmp_path / "vocals.wav", tone(44_100, 44_100, 2), 44_100)
    fitted = fit_estimate(path, silence(RATE, 1))
    expected = tone(RATE, RATE, 2).mean(axis=1)
    np.testing.assert_allclose(fitted[200:-200, 0], expected[200:-200], atol=1e-3)
    with pytest.raises(HtmdsepError, match=r"1\.0000 s, the song 2\.0000 s"):
        fit_estimate(path, silence(2 * RATE, 1))


def test_estimates_in_mono_stand_for_every_channel(tmp_path: Path) -> None:
    mono = write(tmp_path / "mono.wav", tone(RATE, RATE))
    fitted = fit_estimate(mono, silence(RATE, 2))
    np.testing.assert_array_equal(fitted[:, 0], fitted[:, 1])
    three = write(tmp_path / "three.wav", tone(RATE, RATE, 3))
    with pytest.raises(HtmdsepError, match="3 channels, the song 2"):
        fit_estimate(three, silence(RATE, 2))


@pytest.fixture
def stored(tmp_path: Path, rng: np.random.Generator) -> Folder:
    """Scores of a song of 3.2 s, in files."""
    signals = Signals(*song(rng, 3.2), RATE)
    estimate = signals.vocals + 0.3 * signals.accompaniment
    estimate[:RATE] = 0
    stems = Stems(estimate, signals.mixture - estimate)
    folder = Folder(tmp_path)
    folder.write(
        "method",
        "a song",
        [*score_v4(signals, stems, "mono"), *score_segments(signals, stems, 1.0)],
    )
    return folder


def test_scores_are_a_row_a_frame_and_come_back(stored: Folder) -> None:
    assert stored.has("method", "a song") and not stored.has("method", "another")
    assert stored.titles("method") == ["a song"]
    with stored.scores_path("method", "a song").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (3 + 3)
    assert tuple(rows[0]) == COLUMNS
    table = stored.read("method", "a song")
    sdr = table.frames("sdr", "mono", "v4", "vocals")
    assert np.isnan(sdr).tolist() == [True, False, False]  # the first second's estimate is silent
    assert table.frames("eps", "mono", "segments", "vocals")[0] > 0
    assert np.isnan(table.frames("eps", "mono", "segments", "accompaniment")).all()
    assert len(table.frames("sdr", "native", "v4", "vocals")) == 0


def test_the_museval_file_fits_its_schema_and_holds_the_same(stored: Folder) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    path = stored.path / "museval" / "mono" / "method" / "test" / "a song.json"
    document = json.loads(path.read_text())
    schema = json.loads(museval_file("musdb.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [target["name"] for target in document["targets"]] == ["vocals", "accompaniment"]
    frames = document["targets"][0]["frames"]
    assert [(frame["time"], frame["duration"]) for frame in frames] == [(0, 1), (1, 1), (2, 1)]
    table = stored.read("method", "a song")
    for name in ("sdr", "isr", "sir", "sar"):
        found = [frame["metrics"][name.upper()] for frame in frames]
        expected = table.frames(name, "mono", "v4", "vocals")
        expected[~np.isfinite(expected)] = np.nan
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_segments_that_end_with_the_song_are_left_out(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 2.0), RATE)
    stems = Stems(signals.vocals, signals.accompaniment)
    assert len(list(score_segments(signals, stems, 1.0))) == 2
    assert not list(score_segments(signals, stems, 2.0))
    assert len(list(score_segments(signals, stems, 0.4))) == 2 * 4


def test_a_stereo_song_has_ratios_of_both_channels(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 1.2, 2), RATE)
    estimate = signals.vocals.copy()
    estimate[:, 1] += 0.1 * signals.accompaniment[:, 1]
    scores = list(score_v4(signals, Stems(estimate, signals.mixture - estimate), "native"))
    assert len(scores) == 2 and np.isfinite([scores[0].sdr, scores[0].si_sdr]).all()


def test_estimates_of_another_shape_are_refused(rng: np.random.Generator) -> None:
    signals = Signals(*song(rng, 1.2), RATE)
    with pytest.raises(HtmdsepError, match="do not fit"):
        list(score_v4(signals, Stems(signals.vocals[1:], signals.vocals[1:]), "mono"))
