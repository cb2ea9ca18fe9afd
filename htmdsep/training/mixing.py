"""Random mixes: batches of augmented mixtures with their vocals, each a function of its number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.damage import drop_weak_bins, soft_clip
from htmdsep.training.augment.gaps import gap_gains
from htmdsep.training.augment.leads import solo_leads
from htmdsep.training.augment.rooms import place
from htmdsep.training.augment.timbre import shift_formants
from htmdsep.training.augment.warp import MelodyRange, melody_curves, resample_along
from htmdsep.training.cache import CachedStem
from htmdsep.training.excerpts import Pool, random_active_start

PAIR, SONG_VOICE, VOICE, VOICELESS = range(4)
HARMONIES = (-12.0, -5.0, -4.0, -3.0, 0.0, 3.0, 4.0, 7.0, 12.0)  # semitones of a second voice


@dataclass(frozen=True)
class MixSettings:
    """Shares are probabilities per row of a batch; decibels are uniform ranges."""

    pairs: float = 0.15  # true pairs of a song
    song_voices: float = 0.22  # a song's vocals over other music
    voiceless: float = 0.06  # the rest are unpaired voices
    melodic_voices: float = 0.7  # of the unpaired voices
    melodic_song_voices: float = 0.25
    doubled: float = 0.25  # a detuned, delayed second take, or a harmony
    choir: float = 0.12  # another row's voice joins
    formants: float = 0.6
    formant_semitones: float = 3.0  # standard deviation
    gaps: float = 0.4
    reverb: float = 0.5
    second_source: float = 0.35  # of accompaniment
    leads: float = 0.12
    voiceless_leads: float = 0.4
    bare: float = 0.03  # vocals without accompaniment
    level: tuple[float, float] = (-9.0, 6.0)  # dB of vocals over accompaniment
    pair_gain: tuple[float, float] = (-3.0, 8.0)  # dB on the vocals of true pairs
    quietness: float = 5.0  # dB, mean distance of the peak from full scale
    clipped: float = 0.15
    coded: float = 0.1
    melody: MelodyRange = field(default_factory=MelodyRange)


@dataclass(frozen=True)
class Sources:
    """What random mixing draws from; a pool may be None where the folder has none."""

    pairs: tuple[tuple[CachedStem, CachedStem], ...]  # (vocals, accompaniment), aligned
    song_voices: Pool | None
    voices: Pool | None
    accompaniments: Pool


@dataclass(frozen=True)
class RandomMixes:
    """Draw batches; batch `step` of `rank` depends on nothing but these numbers and the seed."""

    sources: Sources
    settings: MixSettings
    sample_rate: int
    segment_length: int
    batch_size: int
    seed: int
    rank: int = 0

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return mixtures and their vocals, both (batch, 1, time)."""
        rng = np.random.default_rng([self.seed, step, self.rank])
        kinds = self._kinds(rng)
        vocals, accompaniment = self._read(rng, kinds)
        vocals, accompaniment = self._perform(rng, kinds, vocals, accompaniment)
        vocals, accompaniment = _balance(rng, kinds, vocals, accompaniment, self.settings)
        mixture, vocals = _master(rng, vocals + accompaniment, vocals, self.settings)
        return mixture[:, None], vocals[:, None]

    def _kinds(self, rng: np.random.Generator) -> np.ndarray:
        wanted = self.settings
        odds = np.array([wanted.pairs, wanted.song_voices, 0.0, wanted.voiceless])
        odds[VOICE] = 1 - odds.sum()
        odds[PAIR] *= bool(self.sources.pairs)
        odds[SONG_VOICE] *= self.sources.song_voices is not None
        odds[VOICE] *= self.sources.voices is not None
        return rng.choice(4, size=self.batch_size, p=odds / odds.sum())

    def _read(self, rng: np.random.Generator, kinds: np.ndarray) -> tuple[Tensor, Tensor]:
        """Read the sources of a batch, unaltered: two of (rows, source_length)."""
        length = self.settings.melody.source_length(self.segment_length)
        vocals = np.zeros((len(kinds), length), np.float32)
        accompaniment = np.zeros_like(vocals)
        for row, kind in enumerate(kinds):
            if kind == PAIR:
                vocals[row], accompaniment[row] = self._draw_pair(rng, length)
                continue
            if kind == SONG_VOICE and self.sources.song_voices is not None:
                vocals[row] = self.sources.song_voices.draw(rng, length)
            elif kind == VOICE and self.sources.voices is not None:
                vocals[row] = self.sources.voices.draw(rng, length)
            accompaniment[row] = self.sources.accompaniments.draw(rng, length)
        return torch.from_numpy(vocals), torch.from_numpy(accompaniment)

    def _draw_pair(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
        vocals, accompaniment = self.sources.pairs[rng.integers(len(self.sources.pairs))]
        start = random_active_start(rng, vocals, length)
        return vocals.read(start, length), accompaniment.read(start, length)

    def _perform(
        self,
        rng: np.random.Generator,
        kinds: np.ndarray,
        vocals: Tensor,
        accompaniment: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sing and play: melodies, takes, formants, gaps, rooms; both (rows, time)."""
        settings, rows = self.settings, len(kinds)
        wavering = np.where(kinds == VOICE, settings.melodic_voices, settings.melodic_song_voices)
        curves = self._curves(rng, rng.random(rows) < wavering)
        keys = torch.from_numpy(rng.uniform(-4, 4, (rows, 1)).astype(np.float32))
        paired = torch.from_numpy(kinds == PAIR)[:, None]
        curves = torch.where(paired, keys, curves)
        vocals = self._takes(rng, vocals, curves, kinds != PAIR)
        vocals = _choir(rng, vocals, (kinds == VOICE) | (kinds == SONG_VOICE), settings.choir)
        vocals = vocals * gap_gains(rng, rows, self.segment_length, self.sample_rate, settings.gaps)
        vocals = place(
            rng,
            vocals,
            self.sample_rate,
            reverb_share=settings.reverb,
            equaliser=(4.0, 8.0),
            lowpass_share=0.2,
        )
        music = resample_along(accompaniment, keys.expand(-1, self.segment_length))
        music = music + self._more_music(rng, kinds, music)
        music = place(
            rng,
            music,
            self.sample_rate,
            reverb_share=0.0,
            equaliser=(5.0, 10.0),
            lowpass_share=0.2,
        )
        return vocals, music

    def _curves(self, rng: np.random.Generator, melodic: np.ndarray) -> Tensor:
        return melody_curves(
            rng,
            len(melodic),
            self.segment_length,
            self.sample_rate,
            melodic=melodic,
            ranges=self.settings.melody,
        )

    def _takes(
        self,
        rng: np.random.Generator,
        source: Tensor,
        curves: Tensor,
        free: np.ndarray,
    ) -> Tensor:
        """Sing along the curves; shift formants; double some of the `free` rows."""
        rows = len(source)
        doubled = np.flatnonzero((rng.random(rows) < self.settings.doubled) & free)
        interval = rng.choice(HARMONIES, len(doubled)) * (rng.random(len(doubled)) < 0.5)
        interval = interval + rng.normal(0, 0.12, len(doubled))
        second = curves[doubled] + torch.from_numpy(interval.astype(np.float32))[:, None]
        delay = int(rng.uniform(0.005, 0.05) * self.sample_rate)
        late = torch.nn.functional.pad(source[doubled], (delay, 0))
        takes = resample_along(
            torch.cat([torch.nn.functional.pad(source, (0, delay)), late]),
            torch.cat([curves, second]).clamp(-12, 12),
        )
        semitones = rng.normal(0, self.settings.formant_semitones, len(takes)).clip(-6, 6)
        chosen = np.flatnonzero(
            (rng.random(len(takes)) < self.settings.formants) & np.append(free, free[doubled])
        )
        if len(chosen):
            ratios = torch.from_numpy(2 ** (semitones[chosen] / 12)).float()
            takes[chosen] = shift_formants(takes[chosen], ratios)
        vocals = takes[:rows]
        gain = torch.from_numpy(rng.uniform(0.2, 1.0, (len(doubled), 1))).float()
        vocals[doubled] += gain * takes[rows:]
        return vocals

    def _more_music(self, rng: np.random.Generator, kinds: np.ndarray, music: Tensor) -> Tensor:
        """Return what joins the first accompaniment: a second source, or a solo lead."""
        settings, (rows, length) = self.settings, music.shape
        more = torch.zeros_like(music)
        for row in np.flatnonzero((rng.random(rows) < settings.second_source) & (kinds != PAIR)):
            second = torch.from_numpy(self.sources.accompaniments.draw(rng, length))
            more[row] = second * (
                10 ** (rng.uniform(-12, 4) / 20) * _rms(music[row]) / (_rms(second) + 1e-5)
            )
        odds = np.where(kinds == VOICELESS, settings.voiceless_leads, settings.leads)
        led = np.flatnonzero(rng.random(rows) < odds)
        if len(led):
            gain = torch.from_numpy(10 ** (rng.uniform(-16, 2, (len(led), 1)) / 20)).float()
            leads = solo_leads(rng, len(led), length, self.sample_rate)
            leads = leads * gap_gains(rng, len(led), length, self.sample_rate, 0.5)
            more[led] += leads * gain * _rms(music[led])[:, None]
        return more


def _rms(signal: Tensor) -> Tensor:
    return signal.square().mean(dim=-1).sqrt()


def _choir(rng: np.random.Generator, vocals: Tensor, singing: np.ndarray, share: float) -> Tensor:
    """Let another singing row's voice join, in a share of the singing rows."""
    order = rng.permutation(len(vocals))
    joined = singing & singing[order] & (rng.random(len(vocals)) < share)
    gain = torch.from_numpy(rng.uniform(0.3, 1.0, (len(vocals), 1)) * joined[:, None]).float()
    other = vocals[torch.from_numpy(order)]
    return vocals + gain * other * (_rms(vocals) / (_rms(other) + 1e-5))[:, None]


def _balance(
    rng: np.random.Generator,
    kinds: np.ndarray,
    vocals: Tensor,
    accompaniment: Tensor,
    settings: MixSettings,
) -> tuple[Tensor, Tensor]:
    """Set the vocals' level against the accompaniment's, and either's polarity."""
    rows = len(kinds)
    level = torch.from_numpy(10 ** (rng.uniform(*settings.level, rows) / 20)).float()
    free = level * _rms(accompaniment) / (_rms(vocals) + 1e-5)
    paired = torch.from_numpy(10 ** (rng.uniform(*settings.pair_gain, rows) / 20)).float()
    gain = torch.where(torch.from_numpy(kinds == PAIR), paired, free.clamp(max=100.0))
    gain = gain * torch.from_numpy(rng.choice([-1.0, 1.0], rows)).float()
    gain = gain * torch.from_numpy(kinds != VOICELESS)
    bare = (rng.random(rows) < settings.bare) & (kinds != VOICELESS)
    kept = torch.from_numpy(~bare * rng.choice([-1.0, 1.0], rows)).float()
    return vocals * gain[:, None], accompaniment * kept[:, None]


def _master(
    rng: np.random.Generator, mixture: Tensor, vocals: Tensor, settings: MixSettings
) -> tuple[Tensor, Tensor]:
    """Clip, code and level the mixture as released music is; the vocals follow."""
    mixture, vocals = soft_clip(rng, mixture, vocals, settings.clipped)
    coded = np.flatnonzero(rng.random(len(mixture)) < settings.coded)
    if len(coded):
        mixture[coded], vocals[coded] = drop_weak_bins(rng, mixture[coded], vocals[coded])
    decibels = -np.minimum(rng.exponential(settings.quietness, (len(mixture), 1)), 35)
    gain = torch.from_numpy(10 ** (decibels / 20)).float()
    gain = gain / (mixture.abs().amax(dim=1, keepdim=True) + 1e-4)
    return mixture * gain, vocals * gain
