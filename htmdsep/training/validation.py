"""Separate validation windows and score them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.chunks import cut_segments, hop_for, overlap_add
from htmdsep.edges import with_mirrored_edges, without_edges
from htmdsep.levels import with_gains
from htmdsep.metrics.ratios import FLOOR, sdr, si_sdr
from htmdsep.metrics.silence import levels_at_silence
from htmdsep.model import Network, NetworkOutput
from htmdsep.options import DEFAULT_OVERLAP
from htmdsep.streaming import CONTEXT_SECONDS
from htmdsep.training.losses import LossSettings, supervise
from htmdsep.training.windows import ValidationSet

SUNG_POWER = 1e-7  # mean square, -70 dBFS; quieter vocals count as none

# What is made of mixtures whose vocals are known; (windows, time) all of them.
Estimator = Callable[[Tensor, Tensor], NetworkOutput]


class Quartiles(NamedTuple):
    """The middle of a distribution, and where its middle half begins and ends."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Scores:
    """Ratios over windows with singing in dB, levels at silence, losses over all windows."""

    sdr: Quartiles
    si_sdr: Quartiles
    accompaniment_sdr: Quartiles
    accompaniment_si_sdr: Quartiles
    pes: float  # median dBFS of silent tenths of a second; NaN where there are none
    pes_mean: float
    silence_level: float  # mean dBFS of the mixture there
    loss: float  # as trained
    final_loss: float
    masked_loss: float

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name, medians without a suffix, to a millionth."""
        values: dict[str, float] = {}
        for name, value in vars(self).items():
            if isinstance(value, Quartiles):
                values[name] = value.median
                values |= {f"{name}_lower": value.lower, f"{name}_upper": value.upper}
            else:
                values[name] = value
        return {name: round(value, 6) for name, value in values.items()}


@torch.inference_mode()
def separate_windows(
    network: Network, device: torch.device, mixtures: Tensor, _vocals: Tensor
) -> NetworkOutput:
    """Return what a network makes of (windows, time), on the CPU and each output of the same shape.

    Every window is cut and joined as `htmdsep` does with a file of its length.
    """
    segment_length = network.config.segment_length
    hop_length = hop_for(segment_length, DEFAULT_OVERLAP)
    context_length = round(CONTEXT_SECONDS * network.config.sample_rate)
    edged = with_mirrored_edges([mixtures.T.numpy()], context_length)
    cut = cut_segments(edged, segment_length, hop_length)
    levelled = list(with_gains(cut, network.config.input_level))
    shape = (-1, network.config.input_channels, -1)  # mono: channels that are equal
    inputs = [torch.from_numpy((segment.samples * gain).T)[:, None] for segment, gain in levelled]
    outputs = [network(rows.expand(shape).to(device)) for rows in inputs]

    def join(parts: list[Tensor]) -> Tensor:
        estimates = [
            segment._replace(samples=part.mean(dim=1).T.float().cpu().numpy() / gain)
            for (segment, gain), part in zip(levelled, parts, strict=True)
        ]
        joined = overlap_add(estimates, segment_length, hop_length)
        return torch.from_numpy(np.concatenate(list(without_edges(joined, context_length))).T)

    masked = [output.masked_estimate for output in outputs if output.masked_estimate is not None]
    return NetworkOutput(
        join([output.estimate for output in outputs]), join(masked) if masked else None
    )


def score(
    network: Network, windows: ValidationSet, device: torch.device, loss: LossSettings
) -> Scores:
    """Separate a validation set and score it; the network must be in evaluation mode."""
    estimate = partial(separate_windows, network, device)
    return score_estimates(estimate, windows, network.config.sample_rate, loss)


def score_estimates(
    estimator: Estimator, windows: ValidationSet, sample_rate: int, loss: LossSettings
) -> Scores:
    """Score what an estimator makes of a validation set."""
    ratios, silences, losses = [], [], []
    for mixtures, vocals in windows.batches():
        output = estimator(mixtures, vocals)
        sung = vocals.square().mean(dim=1) > SUNG_POWER
        ratios.append(_ratios(mixtures, vocals, output.estimate)[sung])
        signals = torch.stack([output.estimate, mixtures])
        levels = levels_at_silence(vocals.numpy(), signals.numpy(), sample_rate // 10)
        silences.append(torch.from_numpy(levels).float())
        found = supervise(_with_channel(output), mixtures[:, None], vocals[:, None], loss)
        parts = torch.stack([found.total, found.final, found.masked])
        losses.append(parts.expand(len(vocals), -1))
    return _summarise(torch.cat(ratios), torch.cat(silences, dim=1), torch.cat(losses))


def _ratios(mixtures: Tensor, vocals: Tensor, estimate: Tensor) -> Tensor:
    """Return SDR and SI-SDR of vocals, then of accompaniment, as (windows, 4)."""
    music, music_estimate = mixtures - vocals, mixtures - estimate
    return torch.stack(
        [
            sdr(vocals, estimate),
            _si_sdr(vocals, estimate),
            sdr(music, music_estimate),
            _si_sdr(music, music_estimate),
        ],
        dim=1,
    )


def _si_sdr(target: Tensor, estimate: Tensor) -> Tensor:
    return torch.from_numpy(si_sdr(target.numpy(), estimate.numpy(), FLOOR)).float()


def _with_channel(output: NetworkOutput) -> NetworkOutput:
    masked = None if output.masked_estimate is None else output.masked_estimate[:, None]
    return NetworkOutput(output.estimate[:, None], masked)


def _summarise(ratios: Tensor, silences: Tensor, losses: Tensor) -> Scores:
    """Reduce ratios (sung windows, 4), levels at silence (2, frames), losses (windows, 3)."""
    if not len(ratios):
        ratios = torch.full((1, 4), float("nan"))
    if not silences.shape[1]:
        silences = torch.full((2, 1), float("nan"))
    quartiles = ratios.quantile(torch.tensor([0.5, 0.25, 0.75]), dim=0)  # (3, 4)
    total, final, masked = losses.mean(dim=0).tolist()
    vocals, vocals_si, music, music_si = (Quartiles(*column.tolist()) for column in quartiles.T)
    return Scores(
        sdr=vocals,
        si_sdr=vocals_si,
        accompaniment_sdr=music,
        accompaniment_si_sdr=music_si,
        pes=float(silences[0].quantile(0.5)),
        pes_mean=float(silences[0].mean()),
        silence_level=float(silences[1].mean()),
        loss=total,
        final_loss=final,
        masked_loss=masked,
    )
