"""Masks fall where they keep next to nothing of what a voice could be in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from htmdsep.networks.htmdnet import MaskingNetwork
from htmdsep.networks.presence import PRESENCE_SECONDS
from htmdsep.networks.spectral import SpectralMasking
from tests.tiny import TINY, TINY_SPECTRAL

CONFIG = replace(TINY_SPECTRAL, least_share=0.02)
FRAMES = 512  # of 64 samples: 1.5 s


def presence(masks: torch.Tensor, level: float = 1.0) -> torch.Tensor:
    torch.manual_seed(0)
    magnitudes = level * torch.rand(masks.shape)
    factors = SpectralMasking(CONFIG)._presence(magnitudes, masks)
    assert factors.shape == (len(masks), 1, FRAMES, 1)
    return factors[:, 0, :, 0]


def test_what_keeps_enough_is_left_alone() -> None:
    assert (presence(torch.full((2, 2, FRAMES, CONFIG.bins), 0.03)) == 1).all()


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
def test_what_keeps_less_falls_by_as_much_at_any_level(level: float) -> None:
    found = presence(torch.full((1, 2, FRAMES, CONFIG.bins), 0.002), level)
    torch.testing.assert_close(found, torch.full_like(found, 0.1), rtol=1e-3, atol=0)


def test_a_pause_begins_and_ends_within_half_a_second_of_the_voice() -> None:
    masks = torch.full((1, 1, FRAMES, CONFIG.bins), 0.5)
    masks[:, :, FRAMES // 2 :] = 0.001
    found = presence(masks)[0]
    around = round(PRESENCE_SECONDS / 2 * CONFIG.sample_rate / CONFIG.hop_length)
    assert (found[: FRAMES // 2 + around - 10] == 1).all()
    torch.testing.assert_close(found[FRAMES // 2 + around + 1 :].max(), torch.tensor(0.05))


def test_silence_stays_finite() -> None:
    assert presence(torch.full((1, 2, FRAMES, CONFIG.bins), 0.5), level=0.0).isfinite().all()


def test_voices_of_one_song_do_not_matter_to_another() -> None:
    masks = torch.full((2, 2, FRAMES, CONFIG.bins), 0.5)
    masks[1] = 0.002
    found = presence(masks)
    assert (found[0] == 1).all() and (found[1] < 0.11).all()


@pytest.mark.parametrize("bias, factor", [(0.0, 1.0), (-4.0, 0.3235)])
def test_the_temporal_networks_mask_falls_by_the_energy_that_it_keeps(
    bias: float, factor: float
) -> None:
    torch.manual_seed(0)
    config = replace(TINY, least_share=0.001)
    with_presence, without = MaskingNetwork(config).eval(), MaskingNetwork(TINY).eval()
    without.load_state_dict(with_presence.state_dict())
    for network in (with_presence, without):
        values = network.state_dict()  # whose tensors are the network's own
        values["mask.1.weight"].zero_()
        values["mask.1.bias"].fill_(bias)  # a mask of one value
        values["decoder.bias"].zero_()
    mixture = torch.randn(2, 1, 8192)
    expected = factor * without(mixture)
    torch.testing.assert_close(with_presence(mixture), expected, rtol=0.002, atol=1e-7)
