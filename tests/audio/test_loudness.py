"""Loudness is that of the standard, at any rate, in whatever blocks, and as flat as memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.audio.loudness import _measured, integrated_loudness
from htmdsep.errors import HtmdsepError
from tests.sounds import tone

RATE = 44_100


def noise(seconds: float, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (0.1 * rng.standard_normal((round(seconds * RATE), channels))).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 192_000])
def test_the_tone_of_the_standard(rate: int) -> None:
    """EBU Tech 3341: stereo sines of 1 kHz at -23 dBFS, here half of full scale, are -23 LUFS."""
    signal = tone(3 * rate, rate, 1, 1_000.0).repeat(2, axis=1) * (2 * 10 ** (-23 / 20))
    assert integrated_loudness([signal], rate) == pytest.approx(-23, abs=0.1)


@given(
    lengths=st.lists(st.integers(1, 30_000), min_size=1, max_size=6),
    decibels=st.floats(-40, 15),
    channels=st.integers(1, 8),
)
@settings(max_examples=20, deadline=None)
def test_a_gain_shifts_it_and_blocks_do_not(
    lengths: list[int], decibels: float, channels: int
) -> None:
    signal = noise(2, channels)
    loudness = integrated_loudness([signal], RATE)
    louder = np.float32(10 ** (decibels / 20)) * signal
    parts = [louder[:0], *np.split(louder, np.cumsum(lengths)), louder[:0]]
    shifted = integrated_loudness(parts, RATE)
    assert loudness is not None and shifted is not None
    assert shifted - loudness == pytest.approx(decibels, abs=0.02)


@pytest.mark.parametrize("factor", [100, 32_768])
def test_what_is_too_loud_for_the_meter_is_told(factor: int) -> None:
    """As floats on the scale of integers are."""
    blocks = [noise(2), factor * noise(1), noise(2)]
    with pytest.raises(HtmdsepError, match=r"louder than 10 LUFS after [23]\.\d s"):
        integrated_loudness(blocks, RATE)


def test_rests_between_do_not_count() -> None:
    signal = noise(5)
    gated = integrated_loudness([signal, 0 * signal, signal], RATE)
    assert gated == pytest.approx(integrated_loudness([signal], RATE), abs=0.2)


@pytest.mark.parametrize("blocks", [[], [noise(0.3)], [0 * noise(2)], [1e-5 * noise(2)]])
def test_what_has_none(blocks: list[np.ndarray]) -> None:
    assert integrated_loudness(blocks, RATE) is None


def test_nothing_is_held_back() -> None:
    taken = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(20):
            taken += 1
            yield noise(1)

    for measured, _ in enumerate(_measured(blocks(), RATE), start=1):
        assert taken - measured / 10 < 1.2


def test_an_old_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.AudioFrame", object)
    with pytest.raises(HtmdsepError, match=r"PyAV 18.1 or later"):
        integrated_loudness([noise(1)], RATE)
