"""From scores of frames to scores of a method: medians, confidence intervals, tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 2021


@dataclass(frozen=True)
class Summary:
    """One metric of one method; NaN where there is nothing to sum up.

    Frames count that are finite: silence (NaN) and errors of exactly nothing (infinite) are left
    out and counted.
    """

    song_median: float  # median over songs of the median over frames
    song_interval: tuple[float, float]  # bootstrap over songs
    pooled_median: float
    pooled_mean: float
    pooled_interval: tuple[float, float]  # of the pooled median; bootstrap over songs
    frames: int
    left_out: int
    songs: int


def summarise(songs: Sequence[np.ndarray]) -> Summary:
    """Sum up a metric, given one array of frames a song."""
    finite = [frames[np.isfinite(frames)] for frames in songs]
    kept = [frames for frames in finite if len(frames)]
    pooled = np.concatenate([np.empty(0), *kept])
    medians = [np.array([np.median(frames)]) for frames in kept]
    return Summary(
        song_median=pooled_median(medians),
        song_interval=bootstrap(medians, pooled_median),
        pooled_median=pooled_median(kept),
        pooled_mean=float(pooled.mean()) if len(pooled) else float("nan"),
        pooled_interval=bootstrap(kept, pooled_median),
        frames=len(pooled),
        left_out=sum(map(len, songs)) - len(pooled),
        songs=len(kept),
    )


def pooled_median(parts: Sequence[np.ndarray]) -> float:
    """Return the median of all values of all songs; NaN of none."""
    return float(np.median(np.concatenate(parts))) if parts else float("nan")


def bootstrap(
    songs: Sequence[np.ndarray], statistic: Callable[[Sequence[np.ndarray]], float]
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic over songs drawn with replacement.

    Songs and not frames are drawn, since the frames of a song resemble each other. NaN of fewer
    than two songs.
    """
    if len(songs) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(SEED)
    draws = rng.integers(len(songs), size=(RESAMPLES, len(songs)))
    values = [statistic([songs[index] for index in draw]) for draw in draws]
    lower, upper = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(lower), float(upper)


def wilcoxon(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Return the two-sided p of the paired signed-rank test, and how many pairs it saw.

    Pairs that are not finite are left out; p is NaN where no pair differs.
    """
    both = np.isfinite(first) & np.isfinite(second)
    differences = first[both] - second[both]
    if not np.any(differences):
        return float("nan"), int(both.sum())
    return float(stats.wilcoxon(differences).pvalue), int(both.sum())
