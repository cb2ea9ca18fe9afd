"""The spectral masking network: its shapes, its transforms, and what surrounds a stream."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep import HtmdsepError, Separator
from htmdsep.dsp.segments import with_mirrored_edges, without_edges
from htmdsep.dsp.spectra import istft, stft
from htmdsep.networks.config import SpectralConfig, config_from_dict, config_to_dict
from htmdsep.networks.cost import parameter_count
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.networks.spectral import SpectralMasking
from htmdsep.separation.high_band import add_high_band, stack_for_high_band
from htmdsep.separation.pairs import Pair, mute_silence
from tests.tiny import TINY_SPECTRAL


def test_it_has_the_size_of_the_network_it_begins_from() -> None:
    assert parameter_count(HTMDNet(SpectralConfig())) == 9_823_749


def test_its_config_comes_back_from_its_plain_values() -> None:
    config = replace(TINY_SPECTRAL, input_channels=1)
    assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (4,)}, "widths must be two or more"),
        ({"widths": (4, 0)}, "widths must be two or more"),
        ({"hop_length": 96, "segment_length": 7_680}, "hop_length must divide window_length"),
        ({"bins": 100}, r"bins must be a multiple of 2\*\*levels, not 100"),
        ({"input_channels": 3}, "input_channels must be 1 or 2, not 3"),
        ({"input_level": 3.0}, "input_level must lie between -100 and 0"),
        ({"segment_length": 2000}, "segment_length must be a multiple of 512"),
    ],
)
def test_configs_that_make_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(HtmdsepError, match=message):
        replace(TINY_SPECTRAL, **changes)  # type: ignore[arg-type]


def test_masks_scale_every_bin_of_the_mixture(rng: np.random.Generator) -> None:
    """With masks of a constant the estimate is that share of the mixture, at its own time."""
    network = SpectralMasking(TINY_SPECTRAL).eval()
    torch.nn.init.zeros_(network.mask.weight)
    assert network.mask.bias is not None
    torch.nn.init.constant_(network.mask.bias, float(np.log(0.25 / 0.75)))  # sigmoid: 0.25
    mixture = torch.from_numpy(rng.standard_normal((3, 2, 4096)).astype(np.float32))
    with torch.inference_mode():
        estimate, gain = network(mixture)
    torch.testing.assert_close(estimate, 0.25 * mixture, atol=1e-5, rtol=0)
    torch.testing.assert_close(gain, torch.full_like(gain, 0.25))


@given(hops=st.integers(5, 40), channels=st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_transforms_are_those_of_pytorch(hops: int, channels: int) -> None:
    signal = np.random.default_rng(hops).standard_normal((channels, 64 * hops)).astype(np.float32)
    spectra = stft(signal, 256, 64)
    window = torch.hann_window(256)
    expected = torch.stft(torch.from_numpy(signal), 256, 64, window=window, return_complex=True)
    np.testing.assert_allclose(spectra, expected.transpose(1, 2).numpy(), atol=2e-5)
    np.testing.assert_allclose(istft(spectra, 256, 64), signal, atol=2e-6)


def blocks_of(signal: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    ends = np.cumsum([0, *lengths, len(signal)]).clip(0, len(signal))
    return [signal[start:end] for start, end in pairwise(ends)]


@given(
    frames=st.integers(0, 60),
    context=st.integers(1, 20),
    lengths=st.lists(st.integers(1, 25), max_size=5),
)
def test_edges_are_mirrored_and_taken_off_again(
    frames: int, context: int, lengths: list[int]
) -> None:
    signal = np.arange(1.0, frames + 1, dtype=np.float32)[:, None]
    edged = list(with_mirrored_edges(blocks_of(signal, lengths), context))
    whole = np.concatenate([np.zeros((0, 1), np.float32), *edged])
    if frames:
        assert np.array_equal(whole, np.pad(signal, ((context, context), (0, 0)), "symmetric"))
    back = list(without_edges(iter(blocks_of(whole, lengths)), context))
    assert np.array_equal(np.concatenate([np.zeros((0, 1), np.float32), *back]), signal)


@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=8),
    lengths=st.lists(st.integers(1, 50), max_size=8),
)
def test_silence_is_silent_however_the_stream_is_cut(
    runs: list[tuple[bool, int]], lengths: list[int]
) -> None:
    """At 1 000 Hz ten zeros in a row are silence; fewer are left."""
    sounding = np.concatenate([np.full(length, sounds) for sounds, length in runs])
    mixture = np.where(sounding, 0.5, 0.0).astype(np.float32)[:, None]
    vocals = np.full_like(mixture, 0.25)
    pairs = zip(blocks_of(mixture, lengths), blocks_of(vocals, lengths), strict=True)
    made = list(mute_silence([Pair(*pair) for pair in pairs], 1_000))
    assert np.array_equal(np.concatenate([pair.mixture for pair in made]), mixture)
    edges = np.flatnonzero(np.diff(sounding, prepend=not sounding[0], append=not sounding[-1]))
    expected = vocals.copy()
    for start, end in pairwise(edges):
        if not sounding[start] and end - start >= 10:
            expected[start:end] = 0
    assert np.array_equal(np.concatenate([pair.vocals for pair in made]), expected)


def test_above_its_band_the_mixture_is_shared_out_by_the_gain(rng: np.random.Generator) -> None:
    mixture, heard, vocals = rng.standard_normal((3, 50, 2)).astype(np.float32)
    gain = np.linspace(0, 1, 100, dtype=np.float32).reshape(50, 2)
    made = add_high_band(mixture, stack_for_high_band(heard, np.hstack([vocals, gain])))
    np.testing.assert_allclose(made, vocals + gain * (mixture - heard), atol=1e-6)


class AllOfIt(SpectralMasking):
    """Masks of nearly one."""

    def masks(self, magnitudes: torch.Tensor) -> torch.Tensor:
        return torch.full_like(magnitudes, 1.0)


@pytest.mark.parametrize("shifts", [0, 3])
@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100, 96_000])
def test_masks_of_one_give_the_whole_mixture_up_to_its_highest_frequency(
    rng: np.random.Generator, sample_rate: int, shifts: int
) -> None:
    network = HTMDNet(TINY_SPECTRAL)
    network.masking = AllOfIt(TINY_SPECTRAL)
    mixture = rng.standard_normal((sample_rate, 2)).astype(np.float32) * 0.1
    vocals = Separator(network.eval(), shifts=shifts).separate(mixture, sample_rate).vocals
    inner = slice(sample_rate // 10, -sample_rate // 10)
    error = np.mean((vocals - mixture)[inner] ** 2) / np.mean(mixture[inner] ** 2)
    # Where the network hears all there is, resampling takes the very highest frequencies
    assert error < (0.02 if sample_rate > 22_050 else 0.2 if shifts else 0.05)


@pytest.mark.parametrize("decibels", [-40.0, 40.0])
def test_gain_and_separation_commute(
    tiny_spectral: HTMDNet, rng: np.random.Generator, decibels: float
) -> None:
    swell = np.linspace(0.02, 0.2, 60_000)[:, None]
    mixture = (swell * rng.standard_normal((60_000, 2))).astype(np.float32)
    factor = np.float32(10 ** (decibels / 20))
    separator = Separator(tiny_spectral)
    expected = factor * separator.separate(mixture, 44_100).vocals
    found = separator.separate(factor * mixture, 44_100).vocals
    error = np.sum((found - expected) ** 2) / np.sum(expected**2)
    assert 10 * np.log10(error) < -60


def test_silence_in_is_silence_out(any_network: HTMDNet, rng: np.random.Generator) -> None:
    sound = 0.1 * rng.standard_normal((30_000, 2)).astype(np.float32)
    mixture = np.concatenate([sound, np.zeros((20_000, 2), np.float32), sound])
    vocals, accompaniment = Separator(any_network).separate(mixture, 44_100)
    assert vocals[:30_000].any()
    assert not vocals[30_000:50_000].any() and not accompaniment[30_000:50_000].any()
