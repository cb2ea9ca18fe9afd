"""Medians, intervals and tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htmdsep.evaluation.statistics import bootstrap_median, summarise, wilcoxon


def test_a_summary_leaves_out_what_is_not_finite_and_counts_it() -> None:
    songs = [np.array([1.0, np.nan, 3.0]), np.array([5.0, np.inf]), np.array([np.nan])]
    summary = summarise(songs)
    assert (summary.song_median, summary.pooled_median, summary.pooled_mean) == (3.5, 3.0, 3.0)
    assert (summary.frames, summary.left_out, summary.songs) == (3, 3, 2)
    assert summary.song_interval == (2.0, 5.0)


def test_a_summary_of_nothing_is_nan() -> None:
    for songs in ([], [np.array([np.nan])]):
        summary = summarise(songs)
        assert np.isnan([summary.song_median, summary.pooled_mean, *summary.song_interval]).all()
        assert summary.songs == 0


def test_the_interval_of_a_median_covers_it(rng: np.random.Generator) -> None:
    """Of 20 sets of 20 songs around 3 dB, the 95 % interval misses 3 dB in few."""
    missed = 0
    for _ in range(20):
        lower, upper = bootstrap_median(list(rng.normal(3, 2, (20, 1))))
        missed += not lower <= 3 <= upper
    assert missed <= 4


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_pooled_interval_lies_within_the_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    songs = [rng.normal(0, 1, rng.integers(1, 9)) for _ in range(rng.integers(2, 6))]
    lower, upper = bootstrap_median(songs)
    assert min(map(np.median, songs)) <= lower <= upper <= max(map(np.median, songs))


def test_wilcoxon_on_paired_frames(rng: np.random.Generator) -> None:
    first = rng.normal(0, 1, 60)
    p, pairs = wilcoxon(first, first + 0.5 + 0.1 * rng.normal(0, 1, 60))
    assert p < 1e-6 and pairs == 60
    assert wilcoxon(first, first + rng.normal(0, 1, 60))[0] > 1e-3
    first[:3] = np.nan
    p, pairs = wilcoxon(first, first)
    assert np.isnan(p) and pairs == 57


def test_wilcoxon_by_hand() -> None:
    """Five pairs, all in one direction: p = 2 / 2^5 exactly."""
    p, _ = wilcoxon(np.arange(5.0), np.arange(5.0) - np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert p == pytest.approx(2 / 32)
