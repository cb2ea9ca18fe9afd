"""Places between left and right: of voices and music that are mono at their source, of mixes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import Draw

VOICE_PAN = 3.0  # dB of one channel over the other, at most
MUSIC_PAN = 9.0
DOUBLE_SECONDS = (0.008, 0.03)
DOUBLE_LEVEL = (-12.0, -3.0)  # dB, of doubles against the voice
WIDENED = 0.5  # share of mono music; the rest is placed
SIDE_LEVEL = (-14.0, -4.0)  # dB, of the difference of the channels against their mean


def delayed(signal: Tensor, seconds: np.ndarray, draw: Draw) -> Tensor:
    """Return (rows, channels, time) later by seconds (rows, channels or 1, 1)."""
    late = draw.on(np.floor(seconds * draw.sample_rate).astype(int), signal)
    index = (torch.arange(signal.shape[2], device=signal.device) - late).expand_as(signal)
    return signal.gather(2, index.clamp(min=0)) * (index >= 0)


def seat_voices(vocals: Tensor, mono: np.ndarray, draw: Draw) -> Tensor:
    """Pan some `mono` voices (rows,) a little, double some left and right; in stereo only."""
    if vocals.shape[1] == 1:
        return vocals
    vocals = _pan(vocals, draw.rows(draw.settings.panned, mono), VOICE_PAN, draw)
    doubled = draw.rows(draw.settings.side_doubles, mono)
    rows, voice = draw.on(doubled, vocals), vocals[draw.on(doubled, vocals)]
    late = delayed(voice, draw.uniform(DOUBLE_SECONDS, len(doubled), 2), draw)
    gains = draw.gains(draw.uniform(DOUBLE_LEVEL, len(doubled), 2), vocals)
    return vocals.index_add(0, rows, gains * late)


def spread_music(music: Tensor, mono: np.ndarray, draw: Draw) -> Tensor:
    """Widen `mono` music (rows,), or place it; the channels' mean stays. In stereo only."""
    if music.shape[1] == 1:
        return music
    widened = draw.rows(WIDENED, mono)
    placed = np.setdiff1d(np.flatnonzero(mono), widened)
    rows, wide = draw.on(widened, music), music[draw.on(widened, music)]
    side = delayed(wide, draw.uniform(DOUBLE_SECONDS, len(widened)), draw)
    gains = draw.gains(draw.uniform(SIDE_LEVEL, len(widened)), music)
    gains = gains * draw.on(np.array([[1.0], [-1.0]]), music)
    return _pan(music.index_add(0, rows, gains * side), placed, MUSIC_PAN, draw)


def _pan(signal: Tensor, chosen: np.ndarray, decibels: float, draw: Draw) -> Tensor:
    """Raise one channel of the rows chosen, lower the other by as much."""
    pans = draw.uniform((-decibels, decibels), len(chosen)) / 2 * np.array([[1.0], [-1.0]])
    rows = draw.on(chosen, signal)
    return signal.index_copy(0, rows, signal[rows] * draw.gains(pans, signal))


def exchange_channels(vocals: Tensor, music: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Swap the channels of half the rows of both signals, and make both channels equal in some."""
    if vocals.shape[1] == 1:
        return vocals, music
    chances = draw.rng.random((2, len(vocals), 1, 1))
    swapped = draw.on(chances[0] < 0.5, vocals)
    equal = draw.on(chances[1] < draw.settings.dual_mono, vocals)

    def exchanged(signal: Tensor) -> Tensor:
        signal = torch.where(swapped, signal.flip(1), signal)
        return torch.where(equal, signal.mean(dim=1, keepdim=True), signal)

    return exchanged(vocals), exchanged(music)
