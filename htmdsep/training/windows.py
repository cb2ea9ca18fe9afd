"""Validation windows: ten seconds each, always the same ones, read from the cache when needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from htmdsep.errors import HtmdsepError
from htmdsep.training.cache import CachedStem, random_active_start
from htmdsep.training.holdout import HeldOut

WINDOW_SECONDS = 10
SUNG_SHARE = 0.4  # of a window's 50 ms frames within 40 dB of the song's loudest
PEAK = 0.95  # that louder mixtures are brought down to
TOGETHER = 8  # windows read at once


@dataclass(frozen=True)
class Window:
    """A place in two stems."""

    vocals: CachedStem
    vocals_start: int
    accompaniment: CachedStem
    accompaniment_start: int


@dataclass(frozen=True)
class ValidationSet:
    """Windows of `length` samples; at a `level` in dB of vocals over accompaniment, or as is."""

    name: str
    windows: tuple[Window, ...]
    length: int
    level: float | None

    def every(self, stride: int) -> ValidationSet:
        """Return every `stride`-th window."""
        return replace(self, windows=self.windows[::stride])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield mixtures and vocals, both (windows, time), a few windows at a time."""
        for first in range(0, len(self.windows), TOGETHER):
            pairs = [self._read(window) for window in self.windows[first : first + TOGETHER]]
            mixtures, vocals = (np.stack(signals) for signals in zip(*pairs, strict=True))
            yield torch.from_numpy(mixtures), torch.from_numpy(vocals)

    def _read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        vocals = window.vocals.read(window.vocals_start, self.length)
        music = window.accompaniment.read(window.accompaniment_start, self.length)
        if self.level is not None:
            ratio = np.sqrt(np.mean(music**2) / max(float(np.mean(vocals**2)), 1e-12))
            vocals = vocals * np.float32(ratio * 10 ** (self.level / 20))
        mixture = vocals + music
        gain = np.float32(min(1.0, PEAK / max(float(np.abs(mixture).max()), 1e-9)))
        return mixture * gain, vocals * gain


def make_validation_set(
    held: HeldOut, cached: Mapping[str, CachedStem], sample_rate: int
) -> ValidationSet:
    """Choose the windows of a held-out set.

    Of songs at a given level only windows with singing are taken, of songs as they are all. Raises
    HtmdsepError where there are none.
    """
    length = WINDOW_SECONDS * sample_rate
    windows = []
    for song in held.songs:
        vocals, music = cached[song.vocals.name], cached[song.accompaniment.name]
        if held.level is None:
            starts = list(range(0, max(1, len(vocals.samples) - length + 1), length))
        else:
            starts = _sung_starts(vocals, length, sample_rate)
        windows += [Window(vocals, start, music, start) for start in starts]
    if held.voices:
        windows += _mixed_windows(held, cached, length)
    if not windows:
        raise HtmdsepError(
            f"the validation set {held.name!r} has no windows: its songs are shorter than "
            f"{WINDOW_SECONDS} s or hardly sung, its files silent, or none are asked for; hold out "
            "others"
        )
    return ValidationSet(held.name, tuple(windows), length, held.level)


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


def _mixed_windows(held: HeldOut, cached: Mapping[str, CachedStem], length: int) -> list[Window]:
    """Take the groups of voices in turn, and each group's voices, over random accompaniments."""
    rng = np.random.default_rng(held.seed)
    groups = [[cached[stem.name] for stem in group if stem.name in cached] for group in held.voices]
    groups = [group for group in groups if group]  # without files that are silent
    accompaniments = [cached[stem.name] for stem in held.accompaniments if stem.name in cached]
    if not groups or not accompaniments:
        return []
    windows = []
    for number in range(held.windows):
        group = groups[number % len(groups)]
        voice = group[number // len(groups) % len(group)]
        music = accompaniments[rng.integers(len(accompaniments))]
        voice_start = random_active_start(rng, voice, length)
        windows.append(Window(voice, voice_start, music, random_active_start(rng, music, length)))
    return windows
