"""From scores of frames to scores of a method: medians, confidence intervals, tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 1000
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
        song_median=_pooled_median(medians),
        song_interval=bootstrap_median(medians),
        pooled_median=_pooled_median(kept),
        pooled_mean=float(pooled.mean()) if len(pooled) else float("nan"),
        pooled_interval=bootstrap_median(kept),
        frames=len(pooled),
        left_out=sum(map(len, songs)) - len(pooled),
        songs=len(kept),
    )


def _pooled_median(parts: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate(parts))) if parts else float("nan")


def bootstrap_median(songs: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the pooled median over songs drawn with replacement.

    Songs and not frames are drawn, since the frames of a song resemble each other. NaN of fewer
    than two songs.
    """
    if len(songs) < 2:
        return float("nan"), float("nan")
    values, owners = np.concatenate(songs), np.repeat(np.arange(len(songs)), [*map(len, songs)])
    order = np.argsort(values)
    values, owners = values[order], owners[order]
    rng = np.random.default_rng(SEED)
    medians = np.empty(RESAMPLES)
    for index, draw in enumerate(rng.integers(len(songs), size=(RESAMPLES, len(songs)))):
        # A song that was drawn n times counts n times: no need to sort again.
        ranks = np.cumsum(np.bincount(draw, minlength=len(songs))[owners])
        middle = [np.searchsorted(ranks, ranks[-1] / 2, side) for side in ("left", "right")]
        medians[index] = values[middle].mean()
    lower, upper = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
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
