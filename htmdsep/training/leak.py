"""Leak: how much of held-out music, in which nobody sings, a network takes for vocals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from htmdsep.dsp.levels import SUNG_DBFS, power_of
from htmdsep.training.cache import Cached, known_stems
from htmdsep.training.holdout import WINDOW_SECONDS, HeldOut
from htmdsep.training.places import Place
from htmdsep.training.validation import WindowEstimator

EVERY = 3  # of a file's windows, one is separated
LOUD_LEAK = -20.0  # dB under the music: a tenth of its amplitude
FLOOR = 1e-10  # of the music's power, -100 dB


def music_places(held_out: Iterable[HeldOut], cached: Cached, sample_rate: int) -> list[Place]:
    """Return where windows begin in the held-out accompaniments that belong to no song."""
    stems = dict.fromkeys(stem for one in held_out for stem in one.accompaniments)
    length = WINDOW_SECONDS * sample_rate
    return [
        Place(stem, start)
        for stem in known_stems(stems, cached)
        for start in range(0, max(1, len(stem.samples) - length + 1), EVERY * length)
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
