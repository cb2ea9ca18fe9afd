"""Random mixes: batches of augmented mixtures with their vocals, each a function of its number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from htmdsep.training.augment.draws import rows_where
from htmdsep.training.cache import CachedStem
from htmdsep.training.excerpts import Pool, random_active_start
from htmdsep.training.loading import Batch
from htmdsep.training.mixdown import mix_down
from htmdsep.training.planning import draw_plan
from htmdsep.training.plans import Drawn, Excerpts
from htmdsep.training.shares import PAIR, SONG_VOICE, VOICE, MixSettings


@dataclass(frozen=True)
class Sources:
    """What random mixing draws from; a pool may be None where the folder has none."""

    pairs: tuple[tuple[CachedStem, CachedStem], ...]  # (vocals, accompaniment), aligned
    song_voices: Pool | None
    voices: Pool | None
    accompaniments: Pool


@dataclass(frozen=True)
class RandomMixes:
    """Draw batches; batch `step` of `rank` depends on nothing but these numbers and the seed.

    On a CPU that holds to the bit; another kind of device has other noise in its reverbs.
    """

    sources: Sources
    settings: MixSettings
    sample_rate: int
    segment_length: int
    batch_size: int
    seed: int
    rank: int = 0

    def batch(self, step: int) -> Batch:
        """Return mixtures and their vocals, both (batch, 1, time)."""
        return self.mix(self.draw(step))

    def draw(self, step: int) -> Drawn:
        """Read what a batch is made of, and draw what becomes of it."""
        rng = np.random.default_rng([self.seed, step, self.rank])
        kinds = self._kinds(rng)
        excerpts = self._read(rng, kinds)
        plan = draw_plan(rng, kinds, self.settings, self.sample_rate, self.segment_length)
        return Drawn(excerpts, plan)

    def mix(self, drawn: Drawn) -> Batch:
        """Make a batch, on the device that the drawn tensors are on; it is never waited for."""
        mixture, vocals = mix_down(drawn, self.sample_rate, self.segment_length)
        return mixture[:, None], vocals[:, None]

    def _kinds(self, rng: np.random.Generator) -> np.ndarray:
        wanted = self.settings
        odds = np.array([wanted.pairs, wanted.song_voices, 0.0, wanted.voiceless])
        odds[VOICE] = 1 - odds.sum()
        odds[PAIR] *= bool(self.sources.pairs)
        odds[SONG_VOICE] *= self.sources.song_voices is not None
        odds[VOICE] *= self.sources.voices is not None
        return rng.choice(4, size=self.batch_size, p=odds / odds.sum())

    def _read(self, rng: np.random.Generator, kinds: np.ndarray) -> Excerpts:
        """Read the sources of a batch, unaltered."""
        length = self.settings.melody.source_length(self.segment_length)
        vocals = np.zeros((len(kinds), length), np.int16)
        music = np.zeros_like(vocals)
        for row, kind in enumerate(kinds):
            if kind == PAIR:
                vocals[row], music[row] = self._draw_pair(rng, length)
                continue
            if kind == SONG_VOICE and self.sources.song_voices is not None:
                vocals[row] = self.sources.song_voices.draw(rng, length)
            elif kind == VOICE and self.sources.voices is not None:
                vocals[row] = self.sources.voices.draw(rng, length)
            music[row] = self.sources.accompaniments.draw(rng, length)
        joined = (rng.random(len(kinds)) < self.settings.second_source) & (kinds != PAIR)
        more = [self._more_music(rng) for _ in range(joined.sum())]
        return Excerpts(
            torch.from_numpy(vocals),
            torch.from_numpy(music),
            torch.from_numpy(np.reshape(more, (-1, self.segment_length)).astype(np.int16)),
            rows_where(joined),
        )

    def _more_music(self, rng: np.random.Generator) -> np.ndarray:
        return self.sources.accompaniments.draw(rng, self.segment_length)

    def _draw_pair(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
        vocals, music = self.sources.pairs[rng.integers(len(self.sources.pairs))]
        start = random_active_start(rng, vocals, length)
        return vocals.read_integers(start, length), music.read_integers(start, length)
