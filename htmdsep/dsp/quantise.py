"""Put a mixture and its vocals on the output's grid so that both stems add up to it exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from htmdsep.options import Subtype

BITS = {"PCM_16": 16, "PCM_24": 24}
LOWER_BITS = 8  # of int32, that are zeros where it holds 24 bits
FLOAT_BITS = 24  # of a float32's significand


class Quantised(NamedTuple):
    """Three signals on one grid, mixture = vocals + accompaniment in every sample.

    They are what files hold: int16 for PCM_16, the upper 24 bits of int32 for PCM_24, float32 for
    FLOAT.
    """

    mixture: np.ndarray
    vocals: np.ndarray
    accompaniment: np.ndarray
    clipped_samples: int  # samples of the mixture beyond full scale
    clipped_stem_samples: int  # where a stem of the clamped mixture is


def quantise(
    mixture: np.ndarray, vocals: np.ndarray, subtype: Subtype, *, clamp: bool
) -> Quantised:
    """Round a mixture and its vocals, float32 of one shape, so that the accompaniment is exact.

    PCM: both are rounded to integers and the vocals clamped to where the accompaniment, too, fits
    the range; float32 holds integers of up to 25 bits and powers of two exactly. FLOAT: both are
    rounded to a grid of 2^-23 (coarser beyond +-2), on which differences and sums are exact in
    float32; `clamp` holds all three within +-1.
    """
    if subtype == "FLOAT":
        return _quantise_float(mixture.astype(np.float64), vocals.astype(np.float64), clamp)
    scale = np.float32(2.0 ** (BITS[subtype] - 1))
    low, high = -scale, scale - 1

    def fits(values: np.ndarray) -> bool:
        return bool(values.min(initial=0) >= low and values.max(initial=0) <= high)

    whole, part = (np.rint(signal * scale) for signal in (mixture, vocals))
    clipped = beyond = 0
    if not fits(whole):
        clipped = int(np.count_nonzero(np.abs(mixture) > 1))
        whole = whole.clip(low, high)
    rest = whole - part
    if not (fits(part) and fits(rest)):
        beyond = _count_beyond(mixture, vocals)
        part = part.clip(np.maximum(low, whole - high), np.minimum(high, whole - low))
        rest = whole - part
    return Quantised(
        _stored(whole, subtype), _stored(part, subtype), _stored(rest, subtype), clipped, beyond
    )


def _stored(whole: np.ndarray, subtype: Subtype) -> np.ndarray:
    if subtype == "PCM_16":
        return whole.astype(np.int16)
    return (whole * np.float32(2.0**LOWER_BITS)).astype(np.int32)


def _count_beyond(mixture: np.ndarray, vocals: np.ndarray) -> int:
    """Count the samples at which a stem of the clamped mixture is beyond full scale."""
    rest = np.clip(mixture, -1, 1) - vocals
    most = 1 + 2.0**-23  # but for rounding
    return int(np.count_nonzero((np.abs(vocals) > 1) | (np.abs(rest) > most)))


def _quantise_float(mixture: np.ndarray, vocals: np.ndarray, clamp: bool) -> Quantised:
    clipped = clipped_stems = 0
    if clamp:
        clipped = int(np.count_nonzero(np.abs(mixture) > 1))
        clipped_stems = _count_beyond(mixture, vocals)
        mixture = np.clip(mixture, -1, 1)
        vocals = np.clip(vocals, np.maximum(-1, mixture - 1), np.minimum(1, mixture + 1))
    # With every magnitude below 2^e and the grid at 2^(e - 24), all three are whole multiples of
    # the grid with at most 24 bits: representable in float32, and so is the sum. The factor
    # leaves room for the rounding itself.
    largest = np.maximum(np.maximum(np.abs(mixture), np.abs(vocals)), np.abs(mixture - vocals))
    exponent = np.maximum(np.frexp(largest * (1 + 2.0**-20))[1], 1)
    grid = np.ldexp(1.0, exponent - FLOAT_BITS)
    whole = np.rint(mixture / grid) * grid + 0.0  # what adds up to nothing is 0, never -0
    part = np.rint(vocals / grid) * grid
    return Quantised(
        whole.astype(np.float32),
        part.astype(np.float32),
        (whole - part).astype(np.float32),
        clipped,
        clipped_stems,
    )


def dequantise(values: np.ndarray, subtype: Subtype) -> np.ndarray:
    """Return quantised values as floats with full scale at 1."""
    if subtype == "FLOAT":
        return values
    # Exact: at most 24 bits. NumPy takes int32 times float32 for float64, hence the cast.
    return values.astype(np.float32) / np.float32(-np.iinfo(values.dtype).min)
