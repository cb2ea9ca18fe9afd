"""What is drawn of a stream: the same however it comes in, each moment in its column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from htmdsep.page import pictures
from htmdsep.page.pictures import BANDS, MOST_COLUMNS, SHADES, Columns, Drawing, draw_picture
from tests.sounds import tone


def drawn(signal: np.ndarray, sample_rate: int, block_length: int) -> Drawing:
    drawing = Drawing(sample_rate, signal.shape[1])
    for start in range(0, len(signal), block_length):
        drawing.add(signal[start : start + block_length])
    drawing.end()
    return drawing


@given(
    parts=st.lists(st.integers(0, 40), max_size=12),
    most=st.integers(1, 9),
    join=st.sampled_from((np.max, np.mean)),
)
def test_columns_are_those_of_the_whole(
    parts: list[int], most: int, join: Callable[..., np.ndarray]
) -> None:
    whole = np.random.default_rng(sum(parts)).random((2, sum(parts))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "MOST_COLUMNS", most)
        columns = Columns(2, join)
        for fresh in np.split(whole, np.cumsum(parts)[:-1] if parts else [], axis=1):
            columns.add(fresh)
    found, size = columns.all(), columns.joined
    assert found.shape[1] == -(-whole.shape[1] // size) <= most + 1
    for number in range(found.shape[1]):
        group = whole[:, number * size : (number + 1) * size]
        np.testing.assert_allclose(found[:, number], join(group, axis=1), rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(
    sample_rate=st.sampled_from((1_000, 8_000, 22_050, 48_000, 192_000)),
    block_length=st.integers(100, 70_000),
    seconds=st.floats(0.001, 1.5),
)
def test_blocks_make_no_difference(sample_rate: int, block_length: int, seconds: float) -> None:
    frames = max(1, round(seconds * sample_rate))
    signal = np.random.default_rng(frames).standard_normal((frames, 2)).astype(np.float32)
    once, often = drawn(signal, sample_rate, frames), drawn(signal, sample_rate, block_length)
    np.testing.assert_allclose(often.powers(), once.powers(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(often.wave(), once.wave(), rtol=1e-4, atol=1e-6)
    columns = once.wave().shape[1]
    assert (columns - 1) * once.column_seconds < frames / sample_rate
    assert columns * once.column_seconds >= frames / sample_rate - 1e-9
    assert once.powers().shape == (BANDS, columns)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 96_000])
def test_a_click_and_a_tone_are_where_they_sound(sample_rate: int) -> None:
    signal = np.concatenate([np.zeros((sample_rate, 1)), tone(sample_rate, sample_rate)])
    signal = signal.astype(np.float32)
    signal[sample_rate // 2] = -1
    drawing = drawn(signal, sample_rate, 4096)
    peaks, rms = drawing.wave()
    assert np.argmax(peaks) == int(0.5 / drawing.column_seconds)
    tail = slice(int(1 / drawing.column_seconds) + 2, -2)
    np.testing.assert_allclose(peaks[tail], 0.5, atol=0.02)
    np.testing.assert_allclose(rms[tail], 0.5 / np.sqrt(2), atol=0.02)
    most = min(16_000, sample_rate / 2)
    bands = librosa.mel_frequencies(BANDS + 2, fmax=most)
    band = int(np.argmax(drawing.powers()[:, tail].mean(axis=1)))
    assert bands[band] < 440 < bands[band + 2]


def test_a_day_takes_no_more_columns_than_a_song(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "COLUMN_SECONDS", 1e-3)
    signal = tone(10_000 * 8, 8_000)
    drawing = drawn(signal, 8_000, 5_000)
    assert drawing.wave().shape[1] <= MOST_COLUMNS + 1
    assert drawing.wave().shape[1] * drawing.column_seconds == pytest.approx(10, abs=0.01)


def test_silence_is_transparent_and_the_loudest_has_the_colour(tmp_path: Path) -> None:
    loud, silent = np.full((BANDS, 3), 1e-3, np.float32), np.zeros((BANDS, 3), np.float32)
    loud[:, 1] = 0
    loud[0, 2] = 0  # the lowest band
    draw_picture(tmp_path / "a.png", [("mixture", loud), ("vocals", silent)])
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (3, 2 * BANDS) and image.mode == "P"
        pixels = np.asarray(image.convert("RGBA"))
    assert tuple(pixels[0, 0]) == (*pictures.COLOURS["mixture"], 255)
    assert not pixels[BANDS:, :, 3].any() and not pixels[:, 1, 3].any()
    assert pixels[BANDS - 1, 2, 3] == 0 < pixels[BANDS - 2, 2, 3]  # low is below


def test_quieter_is_paler_to_the_end_of_the_range(tmp_path: Path) -> None:
    levels = np.array([[0, -pictures.RANGE_DB / 2, -pictures.RANGE_DB, -200]])
    powers = np.repeat(10 ** (levels / 10), BANDS, axis=0)
    draw_picture(tmp_path / "a.png", [("accompaniment", powers)])
    with Image.open(tmp_path / "a.png") as image:
        alphas = np.asarray(image.convert("RGBA"))[0, :, 3]
    assert alphas[0] == 255 and alphas[2] == alphas[3] == 0
    assert int(alphas[1]) == pytest.approx(127, abs=255 / SHADES)
