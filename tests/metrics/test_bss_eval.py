"""BSS Eval against museval and mir_eval, and what they leave open."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.errors import HtmdsepError
from htmdsep.metrics.bss_eval import BSSRatios, Filters, bss_eval
from htmdsep.metrics.correlation import correlate
from tests.evaluation.signals import RATE, song
from tests.metrics.references import museval_ratios

BOTH = pytest.mark.parametrize("filters", ["song", "window"])


def stacked(ratios: BSSRatios) -> np.ndarray:
    return np.stack([ratios.sdr, ratios.isr, ratios.sir, ratios.sar])


def noise(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return references, and estimates with filtering, interference and artefacts."""
    references = rng.standard_normal(shape)
    estimates = references + 0.3 * np.roll(references, 3, axis=1) + 0.1 * references[::-1]
    return references, estimates + 0.2 * rng.standard_normal(shape)


@given(
    sources=st.integers(2, 3),
    frames=st.integers(1500, 3000),
    window=st.integers(600, 3500),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=8, deadline=None)
def test_random_frames_agree_with_museval(
    sources: int, frames: int, window: int, seed: int
) -> None:
    references, estimates = noise(np.random.default_rng(seed), sources, frames, 1)
    ours = bss_eval(references, estimates, window_length=window)
    theirs = museval_ratios(references, estimates, window, window, "song")
    np.testing.assert_allclose(stacked(ours), theirs, rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize(("sources", "channels"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_noise_agrees_with_museval(
    rng: np.random.Generator, filters: Filters, sources: int, channels: int
) -> None:
    references, estimates = noise(rng, sources, 9000, channels)
    ours = stacked(bss_eval(references, estimates, window_length=4000, filters=filters))
    theirs = museval_ratios(references, estimates, 4000, 4000, filters)
    kept = [0, 1, 2, 3] if sources > 1 else [0, 1, 3]
    np.testing.assert_allclose(ours[kept], theirs[kept], rtol=0, atol=1e-9)


@BOTH
@pytest.mark.parametrize("channels", [1, 2])
def test_songs_of_16_bit_agree_with_museval(
    rng: np.random.Generator, filters: Filters, channels: int
) -> None:
    vocals, music = song(rng, 2.5, channels)
    estimate = (0.9 * vocals + 0.2 * music + 0.02 * np.roll(music, 40, axis=0)).astype(np.float32)
    estimate += 0.01 * rng.standard_normal(estimate.shape).astype(np.float32)
    references = np.stack([vocals, music])
    estimates = np.stack([estimate, vocals + music - estimate])
    ours = stacked(bss_eval(references, estimates, window_length=RATE, filters=filters))
    theirs = museval_ratios(references, estimates, RATE, RATE, filters)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_filters_of_each_window_agree_with_mir_eval(rng: np.random.Generator) -> None:
    separation = pytest.importorskip("mir_eval.separation")
    references, estimates = noise(rng, 2, 9000, 1)
    sdr, isr, sir, sar, _ = separation.bss_eval_images_framewise(
        references, estimates, window=3000, hop=3000, compute_permutation=False
    )
    ours = bss_eval(references, estimates, window_length=3000, filters="window")
    np.testing.assert_allclose(stacked(ours), np.stack([sdr, isr, sir, sar]), rtol=0, atol=1e-9)


@BOTH
@pytest.mark.parametrize("who", ["references", "estimates"])
def test_a_silent_window_is_nan_for_every_source_as_in_museval(
    rng: np.random.Generator, filters: Filters, who: str
) -> None:
    references, estimates = noise(rng, 2, 8000, 1)
    {"references": references, "estimates": estimates}[who][0, 2000:4000] = 0
    ours = bss_eval(references, estimates, window_length=2000, filters=filters)
    assert np.isnan(stacked(ours)[:, :, 1]).all()
    assert np.isfinite(stacked(ours)[:, :, [0, 2, 3]]).all()
    if filters == "song":  # museval cannot solve a silent window's system
        theirs = museval_ratios(references, estimates, 2000, 2000, filters)
        np.testing.assert_allclose(stacked(ours), theirs, rtol=0, atol=1e-6)


@BOTH
def test_a_source_that_never_sounds_is_nan_throughout(
    rng: np.random.Generator, filters: Filters
) -> None:
    references, estimates = noise(rng, 2, 4000, 2)
    references[1] = 0
    ours = bss_eval(references, estimates, window_length=1000, filters=filters)
    assert np.isnan(stacked(ours)).all()


def test_antiphase_channels_are_no_silence(rng: np.random.Generator) -> None:
    """museval adds the channels up and finds silence."""
    references, estimates = noise(rng, 2, 4000, 2)
    references[0, :, 1] = -references[0, :, 0]
    ours = bss_eval(references, estimates, window_length=2000, filter_length=32)
    assert np.isfinite(stacked(ours)).all()


@BOTH
def test_identical_sources_are_singular_and_have_the_ratios_of_one(
    rng: np.random.Generator, filters: Filters
) -> None:
    """Two copies span what one spans: the projection, and so SAR, is that of the source alone."""
    references, estimates = noise(rng, 1, 6000, 1)
    alone = bss_eval(references, estimates, window_length=3000, filters=filters)
    twice = np.concatenate([references, references])
    together = bss_eval(
        twice, np.concatenate([estimates, estimates]), window_length=3000, filters=filters
    )
    for source in (0, 1):
        np.testing.assert_allclose(together.sdr[source], alone.sdr[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.isr[source], alone.isr[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(together.sar[source], alone.sar[0], rtol=0, atol=1e-6)


def test_identical_channels_are_singular_and_have_the_ratios_of_mono(
    rng: np.random.Generator,
) -> None:
    references, estimates = noise(rng, 2, 6000, 1)
    mono = stacked(bss_eval(references, estimates, window_length=3000, filter_length=100))
    stereo = [np.repeat(signals, 2, axis=2) for signals in (references, estimates)]
    np.testing.assert_allclose(
        stacked(bss_eval(*stereo, window_length=3000, filter_length=100)), mono, rtol=0, atol=1e-6
    )


@BOTH
def test_a_sine_that_filters_can_make_of_anything_does_not_crash(filters: Filters) -> None:
    time = np.arange(4000)
    references = np.stack([np.sin(0.1 * time), np.sin(0.1 * time + 1)])
    ours = bss_eval(references, references[::-1] + 0.1, window_length=2000, filters=filters)
    assert np.isfinite(ours.sdr).all() and not np.isnan(stacked(ours)).any()


def test_the_last_partial_window_is_left_out(rng: np.random.Generator) -> None:
    references, estimates = noise(rng, 2, 2999, 1)
    ours = bss_eval(references, estimates, window_length=1000, filter_length=16)
    assert ours.sdr.shape == (2, 2)
    shorter = bss_eval(
        references[:, :2000], estimates[:, :2000], window_length=1000, filter_length=16
    )
    np.testing.assert_allclose(ours.sdr, shorter.sdr, rtol=0, atol=1e-9)


def test_a_window_longer_than_the_signal_is_the_signal(rng: np.random.Generator) -> None:
    references, estimates = noise(rng, 2, 3000, 1)
    long = bss_eval(references, estimates, window_length=10**9)
    exact = bss_eval(references, estimates, window_length=3000)
    np.testing.assert_array_equal(stacked(long), stacked(exact))


def test_a_perfect_estimate_has_no_error(rng: np.random.Generator) -> None:
    references, _ = noise(rng, 2, 3000, 1)
    assert np.all(bss_eval(references, references, window_length=1000).sdr == np.inf)


def test_only_sdr_and_isr_see_a_factor(rng: np.random.Generator) -> None:
    references, estimates = noise(rng, 2, 6000, 1)
    plain = bss_eval(references, estimates, window_length=3000)
    scaled = bss_eval(references, 0.1 * estimates, window_length=3000)
    np.testing.assert_allclose(scaled.sir, plain.sir, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scaled.sar, plain.sar, rtol=0, atol=1e-9)
    assert np.all(scaled.sdr < plain.sdr)


@pytest.mark.parametrize(
    "shapes", [((2, 100), (2, 101)), ((2, 100), (1, 100)), ((100,), (100,)), ((2, 0), (2, 0))]
)
def test_other_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    references, estimates = (np.ones(shape) for shape in shapes)
    with pytest.raises(HtmdsepError, match=r"one shape, \(sources, frames\)"):
        bss_eval(references, estimates, window_length=10)


def test_samples_that_are_not_finite_are_refused() -> None:
    signals = np.ones((2, 100))
    broken = signals.copy()
    broken[0, 3] = np.nan
    with pytest.raises(HtmdsepError, match="finite"):
        bss_eval(signals, broken, window_length=10)


@given(frames=st.integers(1, 40_000), lags=st.integers(1, 600), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_short_transforms_correlate_exactly(frames: int, lags: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals, others = rng.standard_normal((2, frames)), rng.standard_normal((3, frames))
    found = correlate(signals, others, lags)
    assert found.shape == (2, 3, lags)
    lag = int(rng.integers(lags))
    shifted = np.pad(others, ((0, 0), (0, lag)))[:, lag:]
    expected = signals @ shifted.T if lag < frames else np.zeros((2, 3))
    np.testing.assert_allclose(found[:, :, lag], expected, rtol=0, atol=1e-9)


def sources_sdr(target: np.ndarray, estimate: np.ndarray) -> float:
    """Return BSS Eval's older SDR, which forgives filtering: the SAR of a single source."""
    whole = bss_eval(target[None], estimate[None], window_length=len(target))
    return float(whole.sar[0, 0])


def test_torchmetrics_signal_distortion_ratio() -> None:
    """The documented example of torchmetrics' signal_distortion_ratio, a BSS Eval SDR."""
    torch.manual_seed(1)
    estimate, target = torch.randn(8000).numpy(), torch.randn(8000).numpy()
    assert sources_sdr(target, estimate) == pytest.approx(-12.0589, abs=6e-5)
    estimates, targets = torch.randn(4, 2, 8000).numpy(), torch.randn(4, 2, 8000).numpy()
    orders = [(1, 0), (0, 1), (1, 0), (0, 1)]  # the best permutations, as documented
    means = [
        np.mean(
            [sources_sdr(targets[row, place], estimates[row, order[place]]) for place in (0, 1)]
        )
        for row, order in enumerate(orders)
    ]
    np.testing.assert_allclose(means, [-11.6375, -11.4358, -11.7148, -11.6325], atol=6e-5)
