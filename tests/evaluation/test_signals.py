"""A song's true signals from its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import MONO_RATE, read_song
from htmdsep.training.layouts import find_test_songs
from tests.evaluation.signals import RATE, write
from tests.sounds import tone


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


def test_a_song_is_read_whatever_its_case_and_never_passed_over(tmp_path: Path) -> None:
    for name in ("one/Vocals.wav", "one/MIXTURE.WAV", "two/vocals.wav", "two/accompaniment.wav"):
        write(tmp_path / name, tone(RATE, RATE))
    (tmp_path / "notes").mkdir()
    assert [one.title for one in find_test_songs(tmp_path)] == ["one", "two"]
    (tmp_path / "two" / "vocals.wav").rename(tmp_path / "two" / "voice.wav")
    with pytest.raises(HtmdsepError, match="two has no vocals file"):
        find_test_songs(tmp_path)
