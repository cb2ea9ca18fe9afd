"""Validation windows: fixed mixtures at one level, separated and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from htmdsep.model import Network
from htmdsep.training.cache import CachedStem
from htmdsep.training.excerpts import ATTEMPTS, is_active, random_start
from htmdsep.training.holdout import HeldOut
from htmdsep.training.losses import distance
from htmdsep.training.scores import predicted_energy_at_silence, sdr, si_sdr

WINDOW_SECONDS = 10
VOCALS_LEVEL = -5.0  # dB of the vocals under the accompaniment in each window
SUNG_SHARE = 0.4  # of a window's 50 ms frames within 40 dB of the song's loudest
PEAK = 0.95  # that louder mixtures are brought down to
BORDER = 16  # a segment's outer 1/16 on either side is discarded where segments overlap


@dataclass(frozen=True)
class ValidationSet:
    """Mixtures and vocals, both (windows, time)."""

    name: str
    mixtures: Tensor
    vocals: Tensor

    def every(self, step: int) -> ValidationSet:
        """Return every `step`-th window."""
        return ValidationSet(self.name, self.mixtures[::step], self.vocals[::step])


@dataclass(frozen=True)
class Scores:
    """Medians over windows in dB, but for the two losses, which are means of absolute errors."""

    sdr: float
    sdr_lower: float  # quartiles
    sdr_upper: float
    si_sdr: float
    accompaniment_sdr: float
    pes: float  # dBFS over silent tenths of a second; NaN where there are none
    final_loss: float
    masked_loss: float

    def as_row(self, prefix: str) -> dict[str, float]:
        """Return the scores as columns of a log."""
        return {f"{prefix}_{name}": round(value, 5) for name, value in asdict(self).items()}


def make_validation_set(
    held: HeldOut, cached: Mapping[str, CachedStem], sample_rate: int
) -> ValidationSet:
    """Cut and mix the windows of a held-out set."""
    length = WINDOW_SECONDS * sample_rate
    pairs = []
    for song in held.songs:
        vocals, accompaniment = cached[song.vocals.name], cached[song.accompaniment.name]
        for start in _sung_starts(vocals, length, sample_rate):
            pairs.append((vocals.read(start, length), accompaniment.read(start, length)))
    if held.voices:
        pairs += _mixed_pairs(held, cached, length)
    mixed = [_at_level(vocals, accompaniment) for vocals, accompaniment in pairs]
    return ValidationSet(
        held.name,
        torch.from_numpy(np.stack([mixture for mixture, _ in mixed])),
        torch.from_numpy(np.stack([vocals for _, vocals in mixed])),
    )


def _sung_starts(vocals: CachedStem, length: int, sample_rate: int) -> list[int]:
    frame = sample_rate // 20
    whole = vocals.read(0, len(vocals.samples) // frame * frame).reshape(-1, frame)
    levels = np.sqrt(np.mean(whole**2, axis=1))
    sung = levels > levels.max() * 0.01
    frames = length // frame
    return [
        first * frame
        for first in range(0, len(sung) - frames + 1, frames)
        if sung[first : first + frames].mean() >= SUNG_SHARE
    ]


def _mixed_pairs(
    held: HeldOut, cached: Mapping[str, CachedStem], length: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Draw windows from the groups of voices in turn, each over a random accompaniment."""
    rng = np.random.default_rng(held.seed)
    pairs = []
    for window in range(held.windows):
        group = held.voices[window % len(held.voices)]
        voice = cached[group[window // len(held.voices) % len(group)].name]
        music = cached[held.accompaniments[rng.integers(len(held.accompaniments))].name]
        pairs.append((_active(rng, voice, length), _active(rng, music, length)))
    return pairs


def _active(rng: np.random.Generator, stem: CachedStem, length: int) -> NDArray[np.float32]:
    for _ in range(ATTEMPTS):
        excerpt = stem.read(random_start(rng, stem, length), length)
        if is_active(excerpt):
            break
    return excerpt


def _at_level(
    vocals: NDArray[np.float32], accompaniment: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    ratio = np.sqrt(np.mean(accompaniment**2) / np.mean(vocals**2))
    vocals = vocals * np.float32(ratio * 10 ** (VOCALS_LEVEL / 20))
    mixture = vocals + accompaniment
    gain = np.float32(min(1.0, PEAK / np.abs(mixture).max()))
    return mixture * gain, vocals * gain


@torch.inference_mode()
def separate_windows(
    network: Network, mixtures: Tensor, batch_size: int = 8
) -> tuple[Tensor, Tensor]:
    """Return estimates and masked estimates of (windows, time), in segments of training length.

    Segments overlap by an eighth, and the outer half of each overlap is discarded. A network
    without a masked estimate returns its estimate twice.
    """
    segment = network.config.segment_length
    border = segment // BORDER
    hop = segment - 2 * border
    time = mixtures.shape[1]
    count = -(-time // hop)
    padded = torch.nn.functional.pad(mixtures, (border, count * hop + border - time))
    segments = padded.unfold(1, segment, hop).reshape(-1, 1, segment)  # (windows * count, 1, time)
    estimates, masked = [], []
    for batch in segments.split(batch_size):
        output = network(batch)
        estimates.append(output.estimate.float())
        masked.append(
            (output.estimate if output.masked_estimate is None else output.masked_estimate).float()
        )
    final, first = (
        torch.cat(parts)[:, 0, border : border + hop].reshape(len(mixtures), -1)[:, :time]
        for parts in (estimates, masked)
    )
    return final, first


def score(network: Network, windows: ValidationSet, device: torch.device) -> Scores:
    """Separate a validation set and score it; the network must be in evaluation mode."""
    mixtures, vocals = windows.mixtures, windows.vocals
    estimates, masked = (signal.cpu() for signal in separate_windows(network, mixtures.to(device)))
    values = sdr(vocals, estimates)
    silent = predicted_energy_at_silence(vocals, estimates, network.config.sample_rate // 10)
    quartiles = values.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return Scores(
        sdr=quartiles[1],
        sdr_lower=quartiles[0],
        sdr_upper=quartiles[2],
        si_sdr=float(si_sdr(vocals, estimates).median()),
        accompaniment_sdr=float(sdr(mixtures - vocals, mixtures - estimates).median()),
        pes=float(silent.median()) if len(silent) else float("nan"),
        final_loss=float(distance("mae", estimates[:, None], vocals[:, None]).mean()),
        masked_loss=float(distance("mae", masked[:, None], vocals[:, None]).mean()),
    )
