"""The excerpts that are drawn, and the text on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from htmdsep.datasets.folders import find_test_songs
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.options import Excerpt
from htmdsep.evaluation.pictures import (
    ExcerptSignals,
    choose_excerpt,
    draw_spectrograms,
    read_excerpt,
    silent_stretches,
)
from htmdsep.evaluation.signals import Signals, read_song
from htmdsep.evaluation.systems import System, folder_system, use_mixture
from tests.evaluation.signals import RATE


def test_an_excerpt_holds_every_system_in_its_place(songs: Path) -> None:
    (song, _) = find_test_songs(songs)
    mono = read_song(song).mono()
    systems = (folder_system(f"truth={songs / 'songs'}"), System("all", "", use_mixture))
    drawn = read_excerpt(song, Excerpt("one", 1.0, 1.0), systems)
    part = slice(RATE, 2 * RATE)
    expected = {"truth": mono.vocals, "true vocals": mono.vocals, "all": mono.mixture}
    for name, whole in expected.items():
        np.testing.assert_allclose(drawn.signals[name], whole[part, 0], atol=1e-6)
    assert [*drawn.signals] == ["mixture", "true vocals", "truth", "all"]
    with pytest.raises(HtmdsepError, match="one ends before 9 s"):
        read_excerpt(song, Excerpt("one", 9.0, 1.0), systems)


def test_the_excerpt_is_where_singing_comes_and_goes() -> None:
    vocals = np.zeros((60 * RATE, 1), np.float32)
    vocals[: 20 * RATE] = 0.1
    vocals[50 * RATE :] = 0.1
    assert choose_excerpt("a", Signals(vocals, vocals, RATE)) == Excerpt("a", 40, 20)
    for frames in (RATE, RATE // 100):  # less than one that is judged
        assert choose_excerpt("a", Signals(vocals[:frames], vocals, RATE)) == Excerpt("a", 0, 20)


def test_silent_stretches_are_of_the_true_vocals() -> None:
    vocals = np.full(10 * RATE, 0.1)
    vocals[2 * RATE : 5 * RATE] = 1e-4
    vocals[7 * RATE : 7 * RATE + RATE // 5] = 0  # too short to shade
    vocals[9 * RATE :] = 0
    found = silent_stretches(vocals, RATE, start=100.0)
    np.testing.assert_allclose(found, [(102, 105), (109, 110)], atol=1e-6)


def test_a_spectrogram_is_bright_when_a_tone_sounds_and_at_its_height(tmp_path: Path) -> None:
    times = np.arange(4 * RATE) / RATE
    later = (times >= 2).astype(np.float32)
    pictures = []
    for height in (0.0, 0.25, 0.75):  # of the band; 0: silence
        signals = {"mixture": later * np.sin(np.pi * height * RATE * times, dtype=np.float32)}
        path = tmp_path / f"{height}.png"
        draw_spectrograms(ExcerptSignals(Excerpt("a", 60, 4), RATE, signals, []), path)
        pictures.append(imread(path))
    low, high = (np.argwhere((one != pictures[0]).any(axis=2)) for one in pictures[1:])
    middle = pictures[0].shape[1] * 0.45  # the colours' scale stands at the right
    assert low[:, 1].min() > middle and high[:, 1].min() > middle
    assert np.median(high[:, 0]) < np.median(low[:, 0])  # rows are counted from above
