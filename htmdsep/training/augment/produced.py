"""What studios do to voices: compression, saturation, bright or tamed highs, echo, telephones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.draw import Draw, rms
from htmdsep.training.augment.rooms import EQUALISER_SECONDS, transform_size
from htmdsep.training.augment.stereo import delayed
from htmdsep.training.augment.timbre import signal_of, spectra

Range = tuple[float, float]  # uniform
COMPRESSOR_SECONDS, LIMITER_SECONDS = 0.03, 0.003  # over which levels are measured
COMPRESSOR_THRESHOLD, LIMITER_THRESHOLD = (-10.0, 0.0), (3.0, 8.0)  # dB over the voice's RMS
COMPRESSOR_RATIO, LIMITER_RATIO = (2.0, 8.0), (30.0, 30.0)
DRIVE = (0.3, 2.0)  # of the RMS, into a hyperbolic tangent
SHELF_HERTZ, SHELF_DECIBELS = (3_000.0, 6_000.0), (3.0, 9.0)
SIBILANCE_HERTZ, SIBILANCE_DECIBELS = 5_000, (6.0, 15.0)
SIBILANCE_LEVEL = -8.0  # dB of what lies above these hertz against all of a frame
DE_ESSER_HOP = 256
SLAP_SECONDS, SLAP_LEVEL = (0.06, 0.18), (-14.0, -4.0)
TELEPHONE_LOW, TELEPHONE_HIGH = (250.0, 450.0), (2_600.0, 3_600.0)  # Hz


def produce(vocals: Tensor, raw: np.ndarray, draw: Draw) -> Tensor:
    """Treat some of the rows (rows, channels, time) that are `raw`, (rows,), as studios do."""
    settings = draw.settings
    for share, effect in (
        (settings.de_essed, de_ess),
        (settings.compressed, compress),
        (settings.saturated, saturate),
        (settings.bright, brighten),
        (settings.limited, limit),
        (settings.slap_echo, echo_once),
        (settings.telephone, telephone),
    ):
        chosen = draw.rows(share, raw)
        if len(chosen):
            rows = draw.on(chosen, vocals)
            vocals = vocals.index_copy(0, rows, effect(vocals[rows], draw))
    return vocals


def compress(voice: Tensor, draw: Draw) -> Tensor:
    """Reduce the level of what is loud for longer than a few pitch periods."""
    return _reduce(voice, COMPRESSOR_SECONDS, COMPRESSOR_THRESHOLD, COMPRESSOR_RATIO, draw)


def limit(voice: Tensor, draw: Draw) -> Tensor:
    """Hold peaks down."""
    return _reduce(voice, LIMITER_SECONDS, LIMITER_THRESHOLD, LIMITER_RATIO, draw)


def _reduce(voice: Tensor, seconds: float, thresholds: Range, ratios: Range, draw: Draw) -> Tensor:
    """Lower each instant's level over a threshold in dB above the RMS by a ratio."""
    threshold, ratio = (draw.uniform(limits, len(voice)) for limits in (thresholds, ratios))
    step, length = max(1, int(seconds * draw.sample_rate)), voice.shape[2]
    power = torch.nn.functional.pad(voice.square().mean(dim=1, keepdim=True), (0, step))
    power = torch.nn.functional.avg_pool1d(power, 2 * step + 1, step, step)
    level = 10 * torch.log10(power / (rms(voice).square() + 1e-10) + 1e-6)
    excess = (level - draw.on(threshold, voice)).clamp(min=0) * draw.on(1 - 1 / ratio, voice)
    size = (excess.shape[2] - 1) * step + 1
    smooth = torch.nn.functional.interpolate(excess, size, mode="linear", align_corners=True)
    return voice * torch.exp2(smooth[:, :, :length] * (-np.log2(10) / 20))


def saturate(voice: Tensor, draw: Draw) -> Tensor:
    """Add overtones as tubes and tapes do; what is quiet stays."""
    scale = rms(voice) / draw.on(draw.uniform(DRIVE, len(voice)), voice) + 1e-6
    return torch.tanh(voice / scale) * scale


def brighten(voice: Tensor, draw: Draw) -> Tensor:
    """Raise the highs."""
    corner, decibels = (draw.uniform(r, len(voice)) for r in (SHELF_HERTZ, SHELF_DECIBELS))
    hertz, size = _axis(voice, draw)
    corners = draw.on(corner, voice)
    nepers = draw.on(decibels * (np.log(10) / 20), voice)
    return _filter(voice, torch.exp(nepers * torch.sigmoid(6 * (hertz / corners - 1))), size)


def telephone(voice: Tensor, draw: Draw) -> Tensor:
    """Leave a telephone's band."""
    low, high = (
        draw.on(draw.uniform(r, len(voice)), voice) for r in (TELEPHONE_LOW, TELEPHONE_HIGH)
    )
    hertz, size = _axis(voice, draw)
    band = torch.sigmoid(10 * (hertz / low - 1)) * torch.sigmoid(20 * (1 - hertz / high))
    return _filter(voice, band, size)


def _axis(voice: Tensor, draw: Draw) -> tuple[Tensor, int]:
    """Return the frequencies in Hz of a filter's transform, and its size."""
    size = transform_size(voice.shape[2] + int(EQUALISER_SECONDS * draw.sample_rate))
    hertz = torch.linspace(0, draw.sample_rate / 2, size // 2 + 1, device=voice.device)
    return hertz, size


def _filter(voice: Tensor, gains: Tensor, size: int) -> Tensor:
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(voice, size) * gains, size)
    return filtered[:, :, : voice.shape[2]]


def de_ess(voice: Tensor, draw: Draw) -> Tensor:
    """Lower the highs where they are most of what is heard."""
    spectrum = spectra(voice, DE_ESSER_HOP)
    first = int(spectrum.shape[3] * SIBILANCE_HERTZ / (draw.sample_rate / 2))
    power = spectrum.abs().square()
    share = power[..., first:].sum(dim=3, keepdim=True) / (power.sum(dim=3, keepdim=True) + 1e-9)
    sibilant = torch.sigmoid((10 * torch.log10(share + 1e-6) - SIBILANCE_LEVEL) / 2)
    decibels = draw.on(draw.uniform(SIBILANCE_DECIBELS, len(voice)), voice)[..., None]
    spectrum[..., first:] *= 10 ** (-decibels / 20 * sibilant)
    return signal_of(spectrum, DE_ESSER_HOP, voice.shape[2])


def echo_once(voice: Tensor, draw: Draw) -> Tensor:
    """Add a slap echo."""
    late = delayed(voice, draw.uniform(SLAP_SECONDS, len(voice)), draw)
    return voice + draw.gains(draw.uniform(SLAP_LEVEL, len(voice)), voice) * late
