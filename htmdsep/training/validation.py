"""Separate validation windows and score them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from htmdsep.model import Network, NetworkOutput
from htmdsep.training.losses import LossSettings, supervise
from htmdsep.training.scores import predicted_energy_at_silence, sdr, si_sdr
from htmdsep.training.windows import ValidationSet

BORDER = 16  # a segment's outer 1/16 on either side is discarded where segments overlap
SUNG_POWER = 1e-7  # mean square, -70 dBFS; quieter vocals count as none


@dataclass(frozen=True)
class Scores:
    """Medians over windows with singing in dB, and losses averaged over all windows."""

    sdr: float
    sdr_lower: float  # quartiles
    sdr_upper: float
    si_sdr: float
    accompaniment_sdr: float
    pes: float  # dBFS over silent tenths of a second; NaN where there are none
    loss: float  # as trained
    final_loss: float
    masked_loss: float

    def as_row(self, prefix: str) -> dict[str, float]:
        """Return the scores as columns of a log."""
        return {f"{prefix}_{name}": round(value, 6) for name, value in asdict(self).items()}


@torch.inference_mode()
def separate_windows(network: Network, mixtures: Tensor, batch_size: int = 8) -> NetworkOutput:
    """Return what a network makes of (windows, time), each output of the same shape.

    Segments overlap by an eighth, and the outer half of each overlap is discarded.
    """
    segment = network.config.segment_length
    border = segment // BORDER
    hop = segment - 2 * border
    time = mixtures.shape[1]
    count = -(-time // hop)
    padded = torch.nn.functional.pad(mixtures, (border, count * hop + border - time))
    segments = padded.unfold(1, segment, hop).reshape(-1, 1, segment)  # (windows * count, 1, time)
    outputs = [network(batch) for batch in torch.split(segments, batch_size)]

    def join(parts: list[Tensor]) -> Tensor:
        kept = torch.cat(parts)[:, 0, border : border + hop].float()
        return kept.reshape(len(mixtures), -1)[:, :time]

    masked = [output.masked_estimate for output in outputs if output.masked_estimate is not None]
    return NetworkOutput(
        join([output.estimate for output in outputs]), join(masked) if masked else None
    )


def score(
    network: Network, windows: ValidationSet, device: torch.device, loss: LossSettings
) -> Scores:
    """Separate a validation set and score it; the network must be in evaluation mode."""
    ratios, silences, losses = [], [], []
    for mixtures, vocals in windows.batches():
        output = separate_windows(network, mixtures.to(device))
        estimate = output.estimate.cpu()
        masked = None if output.masked_estimate is None else output.masked_estimate.cpu()
        ratios.append(
            torch.stack(
                [
                    sdr(vocals, estimate),
                    si_sdr(vocals, estimate),
                    sdr(mixtures - vocals, mixtures - estimate),
                ],
                dim=1,
            )[vocals.square().mean(dim=1) > SUNG_POWER]
        )
        silences.append(
            predicted_energy_at_silence(vocals, estimate, network.config.sample_rate // 10)
        )
        found = supervise(_with_channel(estimate, masked), mixtures[:, None], vocals[:, None], loss)
        parts = torch.stack([found.total, found.final, found.masked])
        losses.append(parts.expand(len(vocals), -1))
    return _summarise(torch.cat(ratios), torch.cat(silences), torch.cat(losses))


def _with_channel(estimate: Tensor, masked: Tensor | None) -> NetworkOutput:
    return NetworkOutput(estimate[:, None], None if masked is None else masked[:, None])


def _summarise(ratios: Tensor, silences: Tensor, losses: Tensor) -> Scores:
    """Reduce (sung windows, 3) ratios, silent frames' levels and (windows, 3) losses."""
    if not len(ratios):
        ratios = torch.full((1, 3), float("nan"))
    lower, middle, upper = ratios[:, 0].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    total, final, masked = losses.mean(dim=0).tolist()
    return Scores(
        sdr=middle,
        sdr_lower=lower,
        sdr_upper=upper,
        si_sdr=float(ratios[:, 1].quantile(0.5)),
        accompaniment_sdr=float(ratios[:, 2].quantile(0.5)),
        pes=float(silences.quantile(0.5)) if len(silences) else float("nan"),
        loss=total,
        final_loss=final,
        masked_loss=masked,
    )
