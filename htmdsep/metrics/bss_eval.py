"""BSS Eval: how much of an estimate is target, filtering, interference and artefact.

E. Vincent, R. Gribonval, C. Fevotte, IEEE TASLP 14(4), 2006; version 4: F.-R. Stoeter,
A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018. Its reference
implementation is museval, which the tests hold these figures to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy import fft

from htmdsep.errors import HtmdsepError
from htmdsep.metrics.correlation import correlate, project

FILTER_LENGTH = 512  # taps of a permitted distortion (BSS Eval)
TOGETHER = 16  # windows transformed at once

Filters = Literal["song", "window"]


@dataclass(frozen=True)
class BSSRatios:
    """Ratios in dB, (sources, windows): infinite without error, NaN where a signal is silent."""

    sdr: np.ndarray  # source to all distortion
    isr: np.ndarray  # image to spatial, or filtering, distortion
    sir: np.ndarray  # source to interference
    sar: np.ndarray  # source to artefacts


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    *,
    window_length: int,
    filters: Filters = "song",
    filter_length: int = FILTER_LENGTH,
) -> BSSRatios:
    """Compare estimates with references, both (sources, frames) or (sources, frames, channels).

    Lengths are in samples; window follows window. `filters` says what the distortion filters are
    fitted to: "song" is BSS Eval v4, "window" v3 (images, framewise). A window longer than the
    signal is the signal; the last, partial window is left out. Raises HtmdsepError for shapes that
    differ and for samples that are not finite.
    """
    references, estimates = _checked(references, estimates)
    sources, frames, channels = references.shape
    window_length = min(window_length, frames)
    starts = frame_starts(frames, window_length)
    silent = silent_frames(references, starts, window_length)
    silent |= silent_frames(estimates, starts, window_length)
    ratios = np.full((4, sources, len(starts)), np.nan)
    targets, guesses = _rows(references), _rows(estimates)
    heard = np.flatnonzero(~silent)
    transform_length = int(fft.next_fast_len(window_length + filter_length - 1, real=True))
    fit = partial(_fit, channels=channels, lags=filter_length, transform_length=transform_length)
    song_filters = fit(targets, guesses) if filters == "song" and len(heard) else None
    for first in range(0, len(heard), TOGETHER):
        together = heard[first : first + TOGETHER]
        target_spectra, guess_spectra = (
            _spectra(rows, [starts[index] for index in together], window_length, transform_length)
            for rows in (targets, guesses)
        )
        for place, index in enumerate(together):
            target, guess = target_spectra[:, place], guess_spectra[:, place]
            part = slice(starts[index], starts[index] + window_length)
            responses = song_filters or fit(targets[:, part], guesses[:, part])
            ratios[:, :, index] = _ratios(target, guess, responses, transform_length, channels)
    return BSSRatios(*ratios)


def frame_starts(frames: int, window_length: int) -> range:
    """Return the first sample of every whole window; of the only one if none fits, the signal."""
    return range(0, max(1, frames - window_length + 1), window_length)


def silent_frames(signals: np.ndarray, starts: range, window_length: int) -> np.ndarray:
    """Tell for each window whether some signal of (signals, frames, channels) is all zeros in it.

    BSS Eval adds the channels up first and so takes signals in antiphase for silence, too.
    """
    heard = [signals[:, start : start + window_length].any(axis=(1, 2)).all() for start in starts]
    return ~np.array(heard, bool)


def _checked(references: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as (sources, frames, channels)."""
    references, estimates = np.asarray(references), np.asarray(estimates)
    if references.shape != estimates.shape or references.ndim not in (2, 3) or not references.size:
        raise HtmdsepError(
            "references and estimates must have one shape, (sources, frames) or (sources, frames, "
            f"channels), not {references.shape} and {estimates.shape}; align them first"
        )
    if not (np.isfinite(references).all() and np.isfinite(estimates).all()):
        raise HtmdsepError("references and estimates must be finite; export them again")
    shape = (*references.shape, 1)[:3]
    return references.reshape(shape), estimates.reshape(shape)


def _rows(signals: np.ndarray) -> np.ndarray:
    """Return (sources * channels, frames), the channels of a source side by side."""
    return signals.transpose(0, 2, 1).reshape(-1, signals.shape[1])


def _spectra(rows: np.ndarray, starts: list[int], length: int, transform_length: int) -> np.ndarray:
    """Return (rows, windows, bins), with room for a filter's tail."""
    windows = np.stack([rows[:, start : start + length] for start in starts], axis=1)
    return np.asarray(fft.rfft(windows.astype(np.float64), transform_length))


def _fit(
    targets: np.ndarray, guesses: np.ndarray, *, channels: int, lags: int, transform_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit filters to (rows, frames); return their responses, (rows, bins, columns)."""
    both = correlate(targets, np.concatenate([targets, guesses]), lags)
    fitted = project(both[:, : len(targets)], both[:, len(targets) :], channels)
    everything, own = (np.asarray(fft.rfft(taps, transform_length, axis=1)) for taps in fitted)
    return everything, own


def _ratios(
    target: np.ndarray,
    guess: np.ndarray,
    responses: tuple[np.ndarray, np.ndarray],
    transform_length: int,
    channels: int,
) -> np.ndarray:
    """Return (4, sources): the ratios of one window, energies taken from (rows, bins) spectra."""
    everything, own = responses
    ratios = np.empty((4, len(target) // channels))
    for source in range(ratios.shape[1]):
        part = slice(source * channels, (source + 1) * channels)
        true, estimate = target[part], guess[part]
        projection = np.einsum("rkc,rk->ck", everything[:, :, part], target)
        filtered = np.einsum("rkc,rk->ck", own[part, :, part], true)
        ratios[:, source] = [
            _decibels(true, estimate - true, transform_length),
            _decibels(true, filtered - true, transform_length),
            _decibels(filtered, projection - filtered, transform_length),
            _decibels(projection, estimate - projection, transform_length),
        ]
    return ratios


def _decibels(kept: np.ndarray, error: np.ndarray, transform_length: int) -> float:
    """Return 10 log10 of the ratio of two signals' energies, given their spectra (Parseval)."""
    above, below = _energy(kept, transform_length), _energy(error, transform_length)
    if below == 0:
        return np.inf
    return float(10 * np.log10(above / below)) if above else -np.inf


def _energy(spectra: np.ndarray, transform_length: int) -> float:
    powers = spectra.real**2 + spectra.imag**2
    once = powers[:, 0].sum() + (0.0 if transform_length % 2 else powers[:, -1].sum())
    return float(2 * powers.sum() - once)
