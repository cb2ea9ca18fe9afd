"""Separate validation windows and score them; tell how much of music is taken for vocals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from htmdsep.dsp.levels import SUNG_DBFS, power_of
from htmdsep.dsp.overlap_add import hop_for
from htmdsep.dsp.segments import StreamEstimator
from htmdsep.metrics.oracles import ideal_ratio_mask
from htmdsep.metrics.ratios import FLOOR, sdr, si_sdr
from htmdsep.metrics.silence import levels_at_silence
from htmdsep.networks.build import Network
from htmdsep.networks.htmdnet import NetworkOutput
from htmdsep.options import DEFAULT_OVERLAP
from htmdsep.training.cache import Cached, known_stems
from htmdsep.training.holdout import WINDOW_SECONDS, HeldOut, ValidationSet
from htmdsep.training.losses import Losses, LossSettings, supervise
from htmdsep.training.places import Place

LEAK_STRIDE = 3  # of the windows of music in which nobody sings, one is separated
LOUD_LEAK = -20.0  # dB under the music: a tenth of its amplitude
RATIOS = ("sdr", "si_sdr", "accompaniment_sdr", "accompaniment_si_sdr")

# What is made of mixtures whose vocals are known; (windows, channels, time) all of them.
WindowEstimator = Callable[[Tensor, Tensor], NetworkOutput]


def mixture_itself(mixtures: Tensor, _vocals: Tensor) -> NetworkOutput:
    """Return the mixtures, the lower bound."""
    return NetworkOutput(mixtures, None)


def oracle(mixtures: Tensor, vocals: Tensor) -> NetworkOutput:
    """Return what the ideal ratio mask lets through: an upper bound."""
    columns = (signal.flatten(0, 1).T.numpy() for signal in (vocals, mixtures - vocals))
    estimate = torch.from_numpy(ideal_ratio_mask(*columns).T.copy())
    return NetworkOutput(estimate.reshape(mixtures.shape), None)


REFERENCES: dict[str, WindowEstimator] = {"mixture": mixture_itself, "oracle": oracle}


@torch.inference_mode()
def separate_windows(network: Network, mixtures: Tensor, _vocals: Tensor) -> NetworkOutput:
    """Return what a network makes of (windows, channels, time), on the CPU and of the same shape.

    Windows are cut and joined as files are; a network of more channels hears the one repeated. It
    must be in evaluation mode.
    """
    config, device = network.config, next(network.parameters()).device
    together, segment_length = config.input_channels, config.segment_length
    heard = mixtures.expand(-1, max(together, mixtures.shape[1]), -1)

    def estimates(segments: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, None]]:
        inputs = (torch.from_numpy(samples.T) for samples in segments)  # (windows * channels, time)
        shape = (-1, together, segment_length)
        for output in [network(rows.reshape(shape).to(device)) for rows in inputs]:
            parts = [part.flatten(0, 1) for part in output[:2] if part is not None]
            yield torch.cat(parts).T.float().cpu().numpy(), None

    hop_length = hop_for(segment_length, DEFAULT_OVERLAP)
    sizes = config.sample_rate, segment_length, hop_length, together, config.input_level
    blocks = StreamEstimator(estimates, *sizes).estimate([heard.flatten(0, 1).T.numpy()])
    joined = torch.from_numpy(np.concatenate(list(blocks)).T).reshape(-1, *heard.shape)
    if heard.shape != mixtures.shape:
        joined = joined.mean(dim=2, keepdim=True)
    return NetworkOutput(*joined)


def score_estimates(
    estimator: WindowEstimator, windows: ValidationSet, sample_rate: int, loss: LossSettings
) -> dict[str, float]:
    """Score what an estimator makes of a validation set, to a millionth.

    By name: ratios in dB over the windows with singing, medians without a suffix, then `_lower` and
    `_upper` quartile and `_mean`; `pes`, the median level in dBFS of the estimate in silent tenths
    of a second, its mean and the mixture's (`silence_level`); losses over all windows, `loss` as
    trained. NaN where there is nothing to score.
    """
    ratios, silences, losses = [], [], []
    for mixtures, vocals in windows.batches():
        output = estimator(mixtures, vocals)
        sung = vocals.square().mean(dim=(1, 2)) > power_of(SUNG_DBFS)
        ratios.append(_ratios(mixtures, vocals, output.estimate)[sung])
        signals = torch.stack([output.estimate, mixtures])
        levels = levels_at_silence(vocals.numpy(), signals.numpy(), sample_rate // 10)
        silences.append(torch.from_numpy(levels).float())
        parts = torch.stack(supervise(output, mixtures, vocals, loss))
        losses.append(parts.expand(len(vocals), -1))
    values = _summary(torch.cat(ratios)) | _levels(torch.cat(silences, dim=1))
    values |= zip(Losses._fields, torch.cat(losses).mean(dim=0).tolist(), strict=True)
    return {name: round(value, 6) for name, value in values.items()}


def _ratios(mixtures: Tensor, vocals: Tensor, estimate: Tensor) -> Tensor:
    """Return RATIOS of (windows, channels, time), as (windows, 4)."""
    mixtures, vocals, estimate = (one.flatten(1) for one in (mixtures, vocals, estimate))
    pairs = ((vocals, estimate), (mixtures - vocals, mixtures - estimate))
    return torch.stack([ratio(*pair) for pair in pairs for ratio in (sdr, _si_sdr)], dim=1)


def _si_sdr(target: Tensor, estimate: Tensor) -> Tensor:
    return torch.from_numpy(si_sdr(target.numpy(), estimate.numpy(), FLOOR)).float()


def _summary(ratios: Tensor) -> dict[str, float]:
    """Reduce the ratios of sung windows, (windows, 4)."""
    if not len(ratios):
        ratios = torch.full((1, len(RATIOS)), float("nan"))
    quartiles = ratios.quantile(torch.tensor([0.5, 0.25, 0.75]), dim=0)  # (3, 4)
    reduced = torch.cat([quartiles, ratios.mean(dim=0, keepdim=True)]).T.tolist()
    return {
        f"{name}{suffix}": value
        for name, column in zip(RATIOS, reduced, strict=True)
        for suffix, value in zip(("", "_lower", "_upper", "_mean"), column, strict=True)
    }


def _levels(silences: Tensor) -> dict[str, float]:
    """Reduce the levels at silence of estimate and mixture, (2, frames)."""
    if not silences.shape[1]:
        silences = torch.full((2, 1), float("nan"))
    return {
        "pes": float(silences[0].quantile(0.5)),
        "pes_mean": float(silences[0].mean()),
        "silence_level": float(silences[1].mean()),
    }


def music_places(held_out: Iterable[HeldOut], cached: Cached, sample_rate: int) -> list[Place]:
    """Return where windows begin in the held-out accompaniments that belong to no song."""
    stems = dict.fromkeys(stem for one in held_out for stem in one.accompaniments)
    length = WINDOW_SECONDS * sample_rate
    return [
        Place(stem, start)
        for stem in known_stems(stems, cached)
        for start in range(0, max(1, len(stem.samples) - length + 1), LEAK_STRIDE * length)
    ]


def score_leak(
    estimator: WindowEstimator, places: Iterable[Place], sample_rate: int
) -> dict[str, float]:
    """Tell how far an estimator's vocals lie under the music, in dB; NaN where there is none.

    `leak` is the mean over the windows that sound, `leak_upper` what a tenth of them exceeds,
    `loud_leaks` the share above -20 dB.
    """
    levels = []
    for stem, start in places:
        music = torch.from_numpy(stem.read(start, WINDOW_SECONDS * sample_rate))[None]
        power = float(music.square().mean())
        if power > power_of(SUNG_DBFS):
            vocals = estimator(music, torch.zeros_like(music)).estimate
            levels.append(10 * np.log10(float(vocals.square().mean()) / power + FLOOR))
    found = np.array(levels or [np.nan])
    return {
        "windows": len(levels),
        "leak": round(float(found.mean()), 3),
        "leak_upper": round(float(np.quantile(found, 0.9)), 3),
        "loud_leaks": round(float(np.mean(found > LOUD_LEAK)), 3) if levels else float("nan"),
    }
