"""What becomes of vocals and music together: balance, speed, clipping, level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import LABEL, PAIR, SPEED_SEMITONES, VOICELESS, Draw, rms

GAIN_LIMIT = 100.0  # of vocals that are quieter than the level asked for
CLIP_DRIVE = (0.5, 2.5)  # of the peak, into a hyperbolic tangent
LONGEST_SILENCE = 0.7  # of a segment, before or after the music
SPEED_STEPS = 128  # of a segment, in which speeds are counted, so that transforms have few primes


def balance(vocals: Tensor, music: Tensor, kinds: np.ndarray, draw: Draw) -> tuple[Tensor, Tensor]:
    """Set the vocals' level against the music's, and either's polarity; `kinds` is (rows,).

    Pairs keep their balance but for a gain on the vocals; labels, whose sum alone is true, keep it.
    """
    settings, rng, kind = draw.settings, draw.rng, kinds[:, None, None]
    paired, labelled = (kind == PAIR) | (kind == LABEL), kind == LABEL
    free, own = (draw.uniform(r, len(kinds)) for r in (settings.level, settings.pair_gain))
    gains = draw.gains(np.where(paired, np.where(labelled, 0, own), free), vocals)
    signs = rng.choice([-1.0, 1.0], (2, len(kinds), 1, 1))
    signs[1] = np.where(labelled, signs[0], signs[1])
    bare = (rng.random(kind.shape) < settings.bare) & (kind != VOICELESS) & ~labelled
    matched = (gains * rms(music) / (rms(vocals) + 1e-5)).clamp_(max=GAIN_LIMIT)
    gains = torch.where(draw.on(paired, vocals), gains, matched)
    gains = gains * draw.on(signs[0] * (kind != VOICELESS), vocals)
    return vocals * gains, music * draw.on(signs[1] * ~bare, music)


def play_faster_or_slower(signals: Tensor, draw: Draw, length: int) -> Tensor:
    """Resample some rows (rows, channels, longer) to `length`; of others the beginning stays."""
    played = signals[:, :, :length].clone()
    for row in draw.rows(draw.settings.speeds, np.ones(len(signals), bool)):
        semitones = draw.rng.uniform(-SPEED_SEMITONES, SPEED_SEMITONES)
        size = int(SPEED_STEPS * 2 ** (semitones / 12)) * length // SPEED_STEPS
        spectrum = torch.fft.rfft(signals[row, :, :size])
        played[row] = torch.fft.irfft(spectrum[:, : length // 2 + 1], length) * (length / size)
    return played


def clip_softly(mixture: Tensor, vocals: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Saturate some rows (rows, channels, time); the vocals get the mixture's gain at any time."""
    clipped = draw.rows(draw.settings.clipped, np.ones(len(mixture), bool))
    rows = draw.on(clipped, mixture)
    drives = draw.on(draw.uniform(CLIP_DRIVE, len(clipped)), mixture)
    loud = mixture[rows]
    driven = loud * (drives / (loud.abs().amax(dim=(1, 2), keepdim=True) + 1e-6))
    gain = torch.where(driven.abs() < 1e-4, 1.0, torch.tanh(driven) / driven)
    vocals = vocals.index_copy(0, rows, vocals[rows] * gain)
    return mixture.index_copy(0, rows, loud * gain), vocals


def set_level(mixture: Tensor, vocals: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Bring mixtures to the level of inference; some begin late or end early. The vocals follow."""
    settings, rng = draw.settings, draw.rng
    rows, _, length = mixture.shape
    levels = rng.normal(settings.input_level, settings.input_level_deviation, (rows, 1, 1))
    shares = draw.uniform((0, LONGEST_SILENCE), rows)
    shares *= rng.random((rows, 1, 1)) < settings.silence
    silent, late = (shares * length).astype(int), rng.random((rows, 1, 1)) < 0.5
    first, end = np.where(late, silent, 0), length - np.where(late, 0, silent)
    gain = draw.gains(levels, mixture) / (rms(mixture) + 1e-4)
    time = torch.arange(length, device=mixture.device)
    gain = gain * ((time >= draw.on(first, mixture)) & (time < draw.on(end, mixture)))
    return mixture * gain, vocals * gain
