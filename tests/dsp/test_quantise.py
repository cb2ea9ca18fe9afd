from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.dsp.quantise import BITS, dequantise, quantise
from htmdsep.options import Subtype

TYPES = {"PCM_16": np.int16, "PCM_24": np.int32, "FLOAT": np.float32}
SAMPLE = st.floats(-9, 9, width=32) | st.sampled_from([-0.0, -(2.0**-30)])


@given(
    pairs=st.lists(st.tuples(SAMPLE, SAMPLE), min_size=1, max_size=50),
    subtype=st.sampled_from(get_args(Subtype)),
    clamp=st.booleans(),
)
def test_stems_add_up_whatever_the_estimate(
    pairs: list[tuple[float, float]], subtype: Subtype, clamp: bool
) -> None:
    mixture, vocals = np.array(pairs, np.float32).T
    found = quantise(mixture, vocals, subtype, clamp=clamp)
    total = found.vocals + found.accompaniment
    assert total.dtype == TYPES[subtype]
    assert total.tobytes() == found.mixture.tobytes()  # zeros have the same sign, too
    if subtype != "FLOAT":
        parts = [dequantise(signal, subtype).astype(float) for signal in found[1:3]]
        assert np.array_equal(sum(parts), dequantise(found.mixture, subtype))  # without a wrap
        assert subtype == "PCM_16" or not any((signal & 0xFF).any() for signal in found[:3])
    elif clamp:
        assert all(np.abs(signal).max() <= 1 for signal in found[:3])


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 2**-23)]
)
def test_rounding_is_to_the_nearest_step(
    subtype: Subtype, step: float, rng: np.random.Generator
) -> None:
    mixture = rng.uniform(-0.9, 0.9, 1_000).astype(np.float32)
    vocals = (mixture * rng.uniform(0, 1, 1_000)).astype(np.float32)
    found = quantise(mixture, vocals, subtype, clamp=True)
    assert np.abs(dequantise(found.mixture, subtype) - mixture).max() <= step / 2
    assert np.abs(dequantise(found.vocals, subtype) - vocals).max() <= step / 2
    assert found.clipped_samples == 0


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_mixture_on_the_grid_is_kept(subtype: Subtype, rng: np.random.Generator) -> None:
    half = 2 ** (BITS[subtype] - 1)
    mixture = (rng.integers(-half, half, 1_000) / half).astype(np.float32)
    found = quantise(mixture, mixture, subtype, clamp=True)
    assert np.array_equal(dequantise(found.mixture, subtype), mixture)


def test_samples_beyond_full_scale_are_counted() -> None:
    mixture = np.array([0.5, 1.0, -1.0, 1.5, -3.0], np.float32)
    assert quantise(mixture, mixture, "PCM_16", clamp=True).clipped_samples == 2
    assert quantise(mixture, mixture, "FLOAT", clamp=False).clipped_samples == 0


@given(
    pairs=st.lists(st.tuples(SAMPLE, SAMPLE), min_size=1, max_size=50),
    subtype=st.sampled_from(get_args(Subtype)),
)
def test_what_is_taken_from_a_stem_is_counted(
    pairs: list[tuple[float, float]], subtype: Subtype
) -> None:
    """Where nothing is counted, no stem lies farther off than rounding takes it."""
    mixture, vocals = np.array(pairs, np.float32).T
    found = quantise(mixture, vocals, subtype, clamp=True)
    moved = np.abs(dequantise(found.vocals, subtype) - vocals)
    step = 2.0 ** (1 - BITS.get(subtype, 24))
    assert np.count_nonzero(moved > 2.5 * step) <= found.clipped_stem_samples <= len(vocals)
    within = np.clip(vocals, np.maximum(-1, mixture - 1), np.minimum(1, mixture + 1))
    sound = np.clip(mixture, -1, 1)
    within = np.clip(within, np.maximum(-1, sound - 1), np.minimum(1, sound + 1))
    assert quantise(sound, within, subtype, clamp=True).clipped_stem_samples == 0
