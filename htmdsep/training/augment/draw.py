"""How often what happens to the rows of random mixes, and the numbers drawn for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

INPUT_LEVEL = -16.0  # dBFS RMS: 10.00 dB of SDR on unseen clips, 9.98 at -15, 10.03 at -18
SPEED_SEMITONES = 3.0  # by which whole mixes are played faster or slower, at most
PAIR, LABEL, SONG_VOICE, VOICE, VOICELESS = range(5)  # kinds of rows


@dataclass(frozen=True)
class MixSettings:
    """Shares are probabilities per row of a batch; decibels are uniform ranges."""

    channels: int = 1
    pairs: float = 0.15  # true pairs of a song
    labels: float = 0.15  # pairs that a network made of songs without stems, where there are any
    song_voices: float = 0.22  # a song's vocals over other music
    voiceless: float = 0.06  # the rest are unpaired voices
    melodic_voices: float = 0.7  # of the unpaired voices
    melodic_song_voices: float = 0.25
    doubled: float = 0.2  # a detuned, delayed second take, or a harmony
    choir: float = 0.1  # another row's voice joins
    formants: float = 0.6
    formant_semitones: float = 3.0  # standard deviation
    compressed: float = 0.0  # of the unpaired voices, as the next six
    limited: float = 0.0
    saturated: float = 0.0
    bright: float = 0.0
    de_essed: float = 0.0
    slap_echo: float = 0.0
    telephone: float = 0.0
    gaps: float = 0.4
    reverb: float = 0.4
    plates: float = 0.0  # of the reverbs
    second_source: float = 0.25  # of accompaniment
    leads: float = 0.1
    voiceless_leads: float = 0.4
    bare: float = 0.03  # vocals without accompaniment
    level: tuple[float, float] = (-9.0, 6.0)  # dB of vocals over accompaniment
    pair_gain: tuple[float, float] = (-3.0, 8.0)  # dB on the vocals of true pairs
    speeds: float = 0.0  # whole mixes played faster or slower
    panned: float = 0.4  # of voices that are mono at their source; in stereo only, as what follows
    side_doubles: float = 0.2  # of these voices
    dual_mono: float = 0.27
    input_level: float = INPUT_LEVEL  # dBFS RMS of the mixture, as inference brings it to
    input_level_deviation: float = 2.0  # dB, standard
    clipped: float = 0.1
    coded: float = 0.1
    silence: float = 0.1  # share of rows that begin or end in digital silence

    def mixed_length(self, length: int) -> int:
        """Return how many samples are mixed for `length` to be left at the highest speed."""
        return int(np.ceil(length * 2 ** (SPEED_SEMITONES / 12))) if self.speeds else length


# What the spectral network's fine-tuning was tried with, and voices as studios leave them.
STEREO_MIXES = MixSettings(
    channels=2,
    voiceless=0.08,
    compressed=0.3,
    limited=0.1,
    saturated=0.15,
    bright=0.15,
    de_essed=0.15,
    slap_echo=0.1,
    telephone=0.03,
    plates=0.25,
    speeds=0.5,
)


class Draw(NamedTuple):
    """Random numbers of one batch, and what they are drawn by."""

    rng: np.random.Generator
    settings: MixSettings
    sample_rate: int

    def rows(self, share: float | np.ndarray, among: np.ndarray) -> np.ndarray:
        """Return the numbers of a share of the rows that are true in `among`, (rows,)."""
        return np.flatnonzero((self.rng.random(len(among)) < share) & among)

    def uniform(self, limits: tuple[float, float], rows: int, channels: int = 1) -> np.ndarray:
        """Return numbers (rows, channels, 1) within limits."""
        return self.rng.uniform(*limits, (rows, channels, 1))

    def on(self, values: np.ndarray, like: Tensor) -> Tensor:
        """Return numbers, as float32, int64 or bool, where a signal lies; nothing waits for it."""
        kinds = {"f": np.float32, "i": np.int64, "b": np.bool_}
        numbers = torch.from_numpy(np.ascontiguousarray(values, kinds[values.dtype.kind]))
        if like.device.type == "cuda" and numbers.numel():
            numbers = numbers.pin_memory()
        return numbers.to(like.device, non_blocking=True)

    def gains(self, decibels: np.ndarray, like: Tensor) -> Tensor:
        """Return the factors of amplitude that decibels stand for, where a signal lies."""
        return self.on(10 ** (decibels / 20), like)


def rms(signal: Tensor) -> Tensor:
    """Return the levels (rows, 1, 1) of a signal (rows, channels, time)."""
    return signal.square().mean(dim=(1, 2), keepdim=True).sqrt()
