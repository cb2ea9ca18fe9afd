"""Multichannel vocals from one mono estimate, by a streaming multichannel Wiener filter.

The estimate V of the vocals in the mean M of the channels gives the vocals' share s of a
time-frequency bin's power p: p is |V|^2 + |M - V|^2, and s compares |V| with |M - V|. How vocals
and accompaniment are spread over the channels is a real covariance matrix per band, Rv and Ra,
fitted so that p (s Rv + (1 - s) Ra) comes close to the mixture's covariance over the last seconds.
The filter s Rv (s Rv + (1 - s) Ra)^-1 splits the mixture: the model of Duong, Vincent and
Gribonval, "Under-determined reverberant audio source separation using a full-rank spatial
covariance model" (IEEE TASLP 18(7), 2010), with a fit in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import exp, log1p, log2

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from htmdsep.chunks import equal_blocks
from htmdsep.errors import HtmdsepError

SpectrumFilter = Callable[[np.ndarray], np.ndarray]

_SILENCE = 1e-10  # added to powers that are divided by; a full-scale tone has about 1e6


@dataclass(frozen=True)
class SpreadOptions:
    """The constants of the filter, chosen by the SDR of vocals on stereo songs."""

    window_seconds: float = 0.093  # rounded to a power of two in samples
    window_hops: int = 4
    group_frames: int = 16  # frames filtered with one fit, in which they take part
    smoothing_seconds: float = 3.0  # time constant of what the fit remembers
    narrowest_band: float = 400.0  # Hz, at the bottom
    band_ratio: float = 0.7  # width over frequency, towards the top
    exponent: float = 1.5  # of |V| in the share; 2 suits good estimates, 1 poor ones
    kinship: float = 0.01  # how strongly Rv and Ra are drawn to each other where s says little
    regularisation: float = 1e-3  # of matrices, as a share of their diagonals
    passband: float = 0.9  # share of the estimate's bandwidth that resampling leaves whole


DEFAULTS = SpreadOptions()


def spread_estimate(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    sample_rate: int,
    *,
    estimate_rate: int = 22_050,
    options: SpreadOptions = DEFAULTS,
) -> Iterator[np.ndarray]:
    """Yield the multichannel vocals of a mixture, given a mono estimate of them.

    `pairs` are blocks of the mixture (frames, channels) and of the estimate of the vocals in the
    mean of its channels (frames, 1): aligned, float32, at `sample_rate` in Hz, of any lengths.
    `estimate_rate` is the rate (Hz) the estimate was made at: above its bandwidth the filter is
    extrapolated from the band below. The blocks that come out are (frames, channels) float32, as
    many frames in all as went in, and do not depend on the lengths of those that went in. Raises
    HtmdsepError where samples are so far beyond full scale that their powers overflow.
    """
    window_length = 2 ** max(4, round(log2(options.window_seconds * sample_rate)))
    spread = _Spread(window_length, sample_rate, estimate_rate, options)
    joined = (np.concatenate(pair, axis=1) for pair in pairs)
    for vocals in filter_spectra(joined, spread, window_length, options):
        if not np.isfinite(vocals).all():
            raise HtmdsepError(
                "the estimate is not finite; is a sample of the input far beyond full scale?"
            )
        yield vocals


def filter_spectra(
    blocks: Iterable[np.ndarray],
    spectrum_filter: SpectrumFilter,
    window_length: int,
    options: SpreadOptions = DEFAULTS,
) -> Iterator[np.ndarray]:
    """Pass (frames, channels) float32 blocks through a function of their spectra.

    The function gets groups of complex64 (channels, group_frames, bins), in order, and returns
    such a group, with any number of channels. What comes out is aligned with what went in, and
    of the same length.
    """
    hops = options.window_hops
    hop_length = window_length // hops
    delay = window_length - hop_length  # the first frame holds one hop of samples
    window = np.hanning(window_length + 1)[:-1].astype(np.float32)  # periodic
    squares = (window**2).reshape(hops, hop_length).sum(axis=0)
    synthesis = window / np.tile(squares, hops)
    group_length = options.group_frames * hop_length
    assert window_length == hops * hop_length and group_length > delay
    history = tail = np.zeros(0, np.float32)
    for group in equal_blocks(_followed_by_zeros(blocks, delay), group_length):
        samples = np.pad(group, ((0, group_length - len(group)), (0, 0))).T
        skipped = 0 if history.size else delay
        if skipped:
            history = np.zeros((len(samples), delay), np.float32)
            tail = np.zeros((1, hops - 1, hop_length), np.float32)
        samples = np.concatenate([history, samples], axis=1)
        history = samples[:, -delay:]
        frames = sliding_window_view(samples, window_length, axis=1)[:, ::hop_length]
        spectra = np.fft.rfft(frames * window).astype(np.complex64, copy=False)
        filtered = np.fft.irfft(spectrum_filter(spectra), window_length).astype(np.float32)
        summed, tail = _overlap_add(filtered * synthesis, tail, hops)
        yield np.ascontiguousarray(summed.T[skipped : len(group)])


def _followed_by_zeros(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    block = None
    for block in blocks:
        yield block
    if block is not None:
        yield np.zeros((frames, block.shape[1]), np.float32)


def _overlap_add(frames: np.ndarray, tail: np.ndarray, hops: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum (channels, frames, window) with the tail before; return what is complete, and a tail."""
    channels, count, window_length = frames.shape
    pieces = frames.reshape(channels, count, hops, -1)
    summed = np.zeros((channels, count + hops - 1, window_length // hops), np.float32)
    summed[:, : hops - 1] = tail
    for hop in range(hops):
        summed[:, hop : hop + count] += pieces[:, :, hop]
    return summed[:, :count].reshape(channels, -1), summed[:, count:]


class _Spread:
    """The filter of one stream: holds what the fit remembers."""

    def __init__(
        self, window_length: int, sample_rate: int, estimate_rate: int, options: SpreadOptions
    ) -> None:
        bins = window_length // 2 + 1
        bandwidth = sample_rate / 2
        if estimate_rate < sample_rate:
            bandwidth = options.passband * estimate_rate / 2
        self._edges = _band_edges(bandwidth, options) * window_length / sample_rate
        self._edges = np.minimum(np.ceil(self._edges).astype(int), bins)
        hop_seconds = window_length / options.window_hops / sample_rate
        self._decay = exp(-options.group_frames * hop_seconds / options.smoothing_seconds)
        self._exponent, self._kinship = options.exponent, options.kinship
        self._regularisation = options.regularisation
        bands = len(self._edges) - 1
        self._gram = np.zeros((bands, 2, 2))
        self._moments: np.ndarray | float = 0.0  # (bands, 2, channels, channels)

    def __call__(self, spectra: np.ndarray) -> np.ndarray:
        """Return the vocals (channels, frames, bins) of a mixture stacked on its estimate."""
        mixture, vocals = spectra[:-1], spectra[-1]
        powers = np.stack([_power(vocals), _power(mixture.mean(axis=0) - vocals)])
        strengths = powers ** (self._exponent / 2)
        low, high = self._edges[-2:]  # the top band's
        strengths[:, :, high:] = strengths[:, :, low:high].sum(axis=2, keepdims=True)
        share = strengths[0] / (strengths.sum(axis=0) + np.float32(_SILENCE))  # (frames, bins)
        self._remember(mixture, share, powers.sum(axis=0))
        result = np.empty_like(mixture)
        starts, ends = self._edges[:-1], [*self._edges[1:-1], share.shape[1]]
        for start, end, *basis in zip(starts, ends, *self._bases(), strict=True):
            band = slice(start, end)
            result[:, :, band] = _wiener(mixture[:, :, band], share[:, band], *basis)
        return result

    def _remember(self, mixture: np.ndarray, share: np.ndarray, power: np.ndarray) -> None:
        """Take a group into the sums that the fit, least squares weighted by 1/p, needs.

        Its normal equations are sum(p [s, 1-s]' [s, 1-s]) [Rv; Ra] = sum([s, 1-s]' X X').
        """
        grams, moments = [], []
        for start, end in zip(self._edges[:-1], self._edges[1:], strict=True):
            s = share[:, start:end].ravel()
            shares = np.stack([s, 1 - s])
            grams.append((shares * power[:, start:end].ravel()) @ shares.T)
            x = mixture[:, :, start:end].reshape(len(mixture), -1)
            moments.append([((x * s) @ x.conj().T).real for s in shares])
        self._gram = self._decay * self._gram + np.asarray(grams)
        self._moments = self._decay * self._moments + np.asarray(moments)

    def _bases(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return T, T^-1 and w, per band, with Rv = T diag(w) T' and Ra = T diag(1 - w) T'."""
        moments = np.asarray(self._moments)
        bands, _, channels, _ = moments.shape
        ridge = self._regularisation * np.einsum("bii->bi", self._gram) + _SILENCE
        pull = self._kinship * np.trace(self._gram, axis1=1, axis2=2) / 2
        gram = self._gram + ridge[:, :, None] * np.eye(2)
        gram += pull[:, None, None] * np.array([[1, -1], [-1, 1]])
        fit = np.linalg.solve(gram, moments.reshape(bands, 2, -1)).reshape(moments.shape)
        values, vectors = np.linalg.eigh(fit)
        fit = (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-1, -2)
        loading = np.einsum("bkii->b", fit) * self._regularisation / channels + _SILENCE
        fit += loading[:, None, None, None] * np.eye(channels)
        values, vectors = np.linalg.eigh(fit.sum(axis=1))
        root = vectors * np.sqrt(values)[:, None, :]
        inverse = vectors.swapaxes(-1, -2) / np.sqrt(values)[:, :, None]
        weights, rotation = np.linalg.eigh(inverse @ fit[:, 0] @ inverse.swapaxes(-1, -2))
        return root @ rotation, rotation.swapaxes(-1, -2) @ inverse, weights.clip(0, 1)


def _band_edges(bandwidth: float, options: SpreadOptions) -> np.ndarray:
    """Return band edges in Hz: of equal width at the bottom, of equal ratio at the top."""
    bend = options.narrowest_band / options.band_ratio
    span = log1p(bandwidth / bend)
    count = max(1, round(span / log1p(options.band_ratio)))
    edges: np.ndarray = bend * np.expm1(np.linspace(0, span, count + 1))
    return edges


def _power(spectra: np.ndarray) -> np.ndarray:
    power: np.ndarray = spectra.real**2 + spectra.imag**2
    return power


def _wiener(
    mixture: np.ndarray, share: np.ndarray, basis: np.ndarray, inverse: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """Return s Rv (s Rv + (1 - s) Ra)^-1 X of (channels, frames, bins): a gain per basis vector."""
    wanted = w.astype(np.float32)[:, None, None] * share
    rest = (1 - w).astype(np.float32)[:, None, None] * (1 - share)
    gains = wanted / (wanted + rest + np.float32(_SILENCE))
    parts = np.tensordot(inverse.astype(np.float32), mixture, axes=1) * gains
    vocals: np.ndarray = np.tensordot(basis.astype(np.float32), parts, axes=1)
    return vocals
