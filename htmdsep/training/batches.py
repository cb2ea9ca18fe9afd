"""Batches of segments: the paper's from songs as they are, ours mixed at random and augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.training.augment.draw import (
    LABEL,
    PAIR,
    SONG_VOICE,
    VOICE,
    VOICELESS,
    Draw,
    MixSettings,
    rms,
)
from htmdsep.training.augment.master import balance, clip_softly, play_faster_or_slower, set_level
from htmdsep.training.augment.melody import draw_melodies, resample_along, solo_leads, source_length
from htmdsep.training.augment.produced import produce
from htmdsep.training.augment.rooms import place
from htmdsep.training.augment.stereo import exchange_channels, seat_voices, spread_music
from htmdsep.training.augment.timbre import code_lossily
from htmdsep.training.augment.voice import join_choir, silence, sing_takes
from htmdsep.training.cache import UNIT, StemPair
from htmdsep.training.places import Sources

Batch = tuple[Tensor, Tensor]  # mixtures and vocals, both (batch, channels, time)
KEY = 4.0  # semitones that the music is transposed by, either way
SECOND_LEVEL = (-12.0, 4.0)  # dB of a second accompaniment against the first
LEAD_LEVEL = (-16.0, 2.0)  # dB of solo leads against the music
ONE_CHANNEL = 3e-3  # of amplitude, -50 dB: by which channels of mono music may differ when coded
LEAD_GAPS = 0.5  # share of leads
VOICE_EQUALISER, MUSIC_EQUALISER = 4.0, 5.0  # dB, at most, of its points and of half its tilt


@dataclass(frozen=True)
class SongSegments:
    """Segments of aligned pairs, shuffled every epoch; `world_size` processes share each step's."""

    pairs: Sequence[StemPair]
    segment_length: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise HtmdsepError(
                f"the songs hold {len(self._segments)} segments of {self.segment_length} samples, "
                f"too few for one batch of {self.batch_size * self.world_size}"
            )

    @cached_property
    def _segments(self) -> list[tuple[StemPair, int]]:
        """Every segment's song, and where it begins."""
        length = self.segment_length
        return [
            (pair, start)
            for pair in self.pairs
            for start in range(0, len(pair[0].samples) - length + 1, length)
        ]

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches that all segments make."""
        return len(self._segments) // (self.batch_size * self.world_size)

    def batch(self, step: int) -> Batch:
        """Return mixtures and their vocals, both (batch, channels, time)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._segments))
        first = (position * self.world_size + self.rank) * self.batch_size
        chosen = [self._segments[number] for number in order[first : first + self.batch_size]]
        vocals, music = (
            np.stack([pair[part].read(start, self.segment_length) for pair, start in chosen])
            for part in (0, 1)
        )
        return torch.from_numpy(vocals + music), torch.from_numpy(vocals)


class Excerpts(NamedTuple):
    """Sources as they are in the cache, int16; the fourth tensor stays where it was made."""

    vocals: Tensor  # (rows, channels, source_time)
    music: Tensor  # (rows, channels, source_time)
    seconds: Tensor  # (n, channels, time), which join the music of some rows
    rows: Tensor  # (rows, 4): kind; whether a second joins; whether vocals and music are mono


@dataclass(frozen=True)
class RandomMixes:
    """Draw batches, each by its number and the seed alone; to the bit on one kind of device."""

    sources: Sources
    settings: MixSettings
    sample_rate: int
    segment_length: int
    batch_size: int
    seed: int
    rank: int = 0

    def batch(self, step: int) -> Batch:
        """Return mixtures and their vocals, both (batch, channels, time)."""
        return self.mix(step, self.read(step), torch.device("cpu"))

    def read(self, step: int) -> Excerpts:
        """Draw what a batch is made of, and read it."""
        settings, rng = self.settings, np.random.default_rng([self.seed, step, self.rank])
        mixed = settings.mixed_length(self.segment_length)
        length = source_length(mixed)
        kinds = self.sources.draw_kinds(rng, settings, self.batch_size)
        vocals = np.zeros((len(kinds), settings.channels, length), np.int16)
        music, seconds, joined = np.zeros_like(vocals), [], []
        for row, kind in enumerate(kinds):
            joined.append(rng.random() < settings.second_source and kind not in (PAIR, LABEL))
            sung, played = self.sources.draw_row(rng, kind, length)
            if sung is not None:
                vocals[row] = sung.read_integers(length)
            music[row] = played.read_integers(length)
            if joined[-1]:
                seconds.append(self.sources.accompaniments.draw(rng, mixed).read_integers(mixed))
        nothing = np.zeros((0, settings.channels, mixed), np.int16)
        rows = np.stack([kinds, joined, _is_mono(vocals), _is_mono(music)], axis=1)
        parts = vocals, music, np.stack(seconds) if seconds else nothing, rows.astype(np.int64)
        return Excerpts(*map(torch.from_numpy, parts))

    def mix(self, step: int, excerpts: Excerpts, device: torch.device) -> Batch:
        """Make mixtures and their vocals of excerpts, both (rows, channels, time), on a device.

        How many rows an effect changes is drawn with NumPy, so that no device is waited for.
        """
        rng = np.random.default_rng([self.seed, step, self.rank, 1])
        draw = Draw(rng, self.settings, self.sample_rate)
        kinds, joined, mono_voices, mono_music = excerpts.rows.numpy().T
        keys = rng.uniform(-KEY, KEY, (len(kinds), 1))
        vocals, music, seconds = (
            part.to(device, non_blocking=True).float().mul_(UNIT) for part in excerpts[:3]
        )
        vocals = _sing(vocals, kinds, keys, draw, seconds.shape[2])
        vocals = seat_voices(vocals, mono_voices > 0, draw)
        vocals = place(vocals, draw, reverb=self.settings.reverb, decibels=VOICE_EQUALISER)
        music = _add_leads(_play(music, seconds, joined, keys, draw), kinds, draw)
        music = spread_music(music, mono_music > 0, draw)
        music = place(music, draw, reverb=0.0, decibels=MUSIC_EQUALISER)
        vocals, music = exchange_channels(*balance(vocals, music, kinds, draw), draw)
        together = torch.cat([vocals + music, vocals], dim=1)
        mixture, vocals = play_faster_or_slower(together, draw, self.segment_length).chunk(2, dim=1)
        mixture, vocals = clip_softly(mixture, vocals, draw)
        mixture, vocals = code_lossily(mixture, vocals, draw)
        return set_level(mixture, vocals, draw)


def _is_mono(excerpts: np.ndarray) -> np.ndarray:
    """Tell which excerpts (rows, channels, time) have hardly any difference of their channels."""
    left, right = excerpts[:, 0].astype(np.float32), excerpts[:, -1]
    return np.asarray(np.abs(left - right).sum(axis=1) <= ONE_CHANNEL * np.abs(left).sum(axis=1))


def _sing(source: Tensor, kinds: np.ndarray, keys: np.ndarray, draw: Draw, length: int) -> Tensor:
    """Give voices melodies, second takes and gaps; true pairs stay in their song's key."""
    settings = draw.settings
    paired = (kinds == PAIR) | (kinds == LABEL)
    wavering = np.where(kinds == VOICE, settings.melodic_voices, settings.melodic_song_voices)
    points = draw_melodies(draw, length, draw.rng.random(len(kinds)) < wavering)
    points = np.where(paired[:, None], keys, points)
    vocals = sing_takes(source, points, ~paired, draw, length)
    vocals = join_choir(vocals, (kinds == VOICE) | (kinds == SONG_VOICE), draw)
    vocals = produce(vocals, kinds == VOICE, draw)
    return silence(vocals, draw, settings.gaps)


def _play(
    source: Tensor, seconds: Tensor, joined: np.ndarray, keys: np.ndarray, draw: Draw
) -> Tensor:
    """Transpose music, and let second accompaniments join those rows that are `joined`."""
    music = resample_along(source, draw.on(keys, source).expand(-1, seconds.shape[2]))
    rows = draw.on(np.flatnonzero(joined), music)
    levels = draw.gains(draw.uniform(SECOND_LEVEL, len(seconds)), music)
    return music.index_add(0, rows, levels * rms(music[rows]) / (rms(seconds) + 1e-5) * seconds)


def _add_leads(music: Tensor, kinds: np.ndarray, draw: Draw) -> Tensor:
    """Let solo leads join the music of some rows, at levels against the music's own."""
    odds = np.where(kinds == VOICELESS, draw.settings.voiceless_leads, draw.settings.leads)
    led = draw.rows(odds, kinds >= 0)
    if not len(led):
        return music
    rows = draw.on(led, music)
    levels = draw.gains(draw.uniform(LEAD_LEVEL, len(led)), music) * rms(music[rows])
    played = levels * silence(solo_leads(draw, len(led), music), draw, LEAD_GAPS)
    return music.index_add(0, rows, played.expand(-1, music.shape[1], -1))
