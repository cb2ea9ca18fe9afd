"""A row for every validation window: what it is made of, how hard it is, how well it went."""

from __future__ import annotations

import torch
from torch import Tensor

from htmdsep.metrics.ratios import FLOOR, sdr, si_sdr
from htmdsep.model import NetworkOutput
from htmdsep.training.validation import Estimator
from htmdsep.training.windows import ValidationSet, Window

BAND = (200.0, 4000.0)  # Hz; most of a voice's power, and of what hides it
COLUMNS = (
    "set",
    "vocals",
    "vocals_start_seconds",
    "accompaniment",
    "accompaniment_start_seconds",
    "band_ratio",
    "sdr",
    "si_sdr",
)


class Recorder:
    """An estimator that also keeps the figures of each window, in the order of the windows."""

    def __init__(self, estimator: Estimator, sample_rate: int) -> None:
        self.estimator, self.sample_rate = estimator, sample_rate
        self.figures: list[list[float]] = []

    def __call__(self, mixtures: Tensor, vocals: Tensor) -> NetworkOutput:
        output = self.estimator(mixtures, vocals)
        figures = [
            band_ratio(vocals, mixtures - vocals, self.sample_rate),
            sdr(vocals, output.estimate),
            torch.from_numpy(si_sdr(vocals.numpy(), output.estimate.numpy(), FLOOR)).float(),
        ]
        self.figures += torch.stack(figures, dim=1).tolist()
        return output

    def rows(self, windows: ValidationSet) -> list[dict[str, str | float]]:
        """Return a row of COLUMNS for each window of the set that was just scored."""
        described = (self._describe(windows.name, window) for window in windows.windows)
        values = [[round(value, 3) for value in figures] for figures in self.figures]
        return [
            dict(zip(COLUMNS, [*words, *figures], strict=True))
            for words, figures in zip(described, values, strict=True)
        ]

    def _describe(self, name: str, window: Window) -> list[str | float]:
        return [
            name,
            window.vocals.name,
            round(window.vocals_start / self.sample_rate, 2),
            window.accompaniment.name,
            round(window.accompaniment_start / self.sample_rate, 2),
        ]


def band_ratio(vocals: Tensor, music: Tensor, sample_rate: int) -> Tensor:
    """Return the vocals' power over the music's within BAND in dB, of signals (windows, time)."""
    frequencies = torch.fft.rfftfreq(vocals.shape[-1], 1 / sample_rate)
    inside = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    powers = [
        torch.fft.rfft(signal)[..., inside].abs().square().mean(dim=-1) + FLOOR
        for signal in (vocals, music)
    ]
    return 10 * torch.log10(powers[0] / powers[1])
