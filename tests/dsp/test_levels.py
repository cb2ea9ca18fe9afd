"""Segments are brought to a level with what surrounds them, by gains that have a bound."""

from __future__ import annotations

import numpy as np
import pytest

from htmdsep.dsp.levels import MAX_GAIN_DB, with_gains
from htmdsep.dsp.overlap_add import Segment


def segments(rng: np.random.Generator, decibels: list[float], channels: int = 2) -> list[Segment]:
    noise = rng.standard_normal((len(decibels), 500, channels)).astype(np.float32)
    noise /= np.sqrt(np.mean(noise**2, axis=(1, 2), keepdims=True))
    gains = 10 ** (np.array(decibels, np.float32) / 20)
    return [Segment(one, 100, 500) for one in noise * gains[:, None, None]]


def gains_db(given: list[Segment], level: float | None, together: int = 2) -> np.ndarray:
    found = [gain for _, gain in with_gains(given, level, together)]
    decibels: np.ndarray = 20 * np.log10(np.stack(found))
    return decibels


def test_steady_signals_come_to_the_level(rng: np.random.Generator) -> None:
    given = segments(rng, [-40.0] * 4)
    np.testing.assert_allclose(gains_db(given, -16.0), 24.0, atol=1e-4)


def test_a_rest_is_turned_up_no_more_than_its_surroundings_allow(rng: np.random.Generator) -> None:
    gain = gains_db(segments(rng, [-20.0, -70.0, -20.0]), -16.0)
    assert gain[1, 0] == pytest.approx(4 + 10 * np.log10(3 / 2), abs=0.01)


@pytest.mark.parametrize("turned", [-40.0, 40.0])
def test_gains_undo_a_change_of_level(rng: np.random.Generator, turned: float) -> None:
    given = segments(rng, [-16.0, -30.0, -20.0])
    loud = [one._replace(samples=one.samples * 10 ** (turned / 20)) for one in given]
    np.testing.assert_allclose(gains_db(loud, -16.0), gains_db(given, -16.0) - turned, atol=1e-4)


def test_noise_floors_and_silence_stay_quiet(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(gains_db(segments(rng, [-98.0]), -16.0), MAX_GAIN_DB)
    nothing = [Segment(np.zeros((500, 2), np.float32), 0, 500)]
    np.testing.assert_allclose(gains_db(nothing, -16.0), MAX_GAIN_DB)


def test_channels_that_a_network_hears_together_keep_their_balance(
    rng: np.random.Generator,
) -> None:
    (given,) = segments(rng, [-30.0], channels=4)
    given.samples[:, 1] *= 10
    gain = gains_db([given], -16.0)
    assert gain[0, 0] == gain[0, 1] < gain[0, 2] == gain[0, 3]


def test_without_a_level_nothing_changes(rng: np.random.Generator) -> None:
    assert (gains_db(segments(rng, [-30.0, -5.0]), None) == 0).all()
