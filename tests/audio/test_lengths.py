"""The rule of lengths: every sample at its own time, and what contradicts is told."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htmdsep.audio.lengths import LEAST_JUMP_SECONDS, AudioHeader, Timeline, check_length
from htmdsep.errors import HtmdsepError

RATE = 48_000


def header(frames: int | None = None, *, exact: bool = False) -> AudioHeader:
    return AudioHeader(RATE, 1, frames, exact, "PCM_16", {})


def place(
    pieces: list[tuple[int, int]], longest: int | None, jitter: float = 0.0, origin: float = 0.0
) -> tuple[np.ndarray, list[str]]:
    """Place pieces of (start, length) whose samples are their own time, counted from 1."""
    timeline = Timeline(header(), longest)
    blocks: list[np.ndarray] = []
    for number, (start, length) in enumerate(pieces):
        samples = np.arange(start + 1, start + length + 1, dtype=np.float32)[:, None]
        blocks += timeline.place(samples, origin + start + jitter * (-1) ** number)
    blocks += timeline.finish()
    return np.concatenate(blocks)[:, 0], timeline.notes()


@given(
    lengths=st.lists(
        st.sampled_from([128, 576, 960, 1_024, 1_152, 4_608]), min_size=4, max_size=40
    ),
    lost=st.sets(st.integers(1, 38)),
    jitter=st.sampled_from([0.0, 0.4, 24.0]),  # half a millisecond: of timestamps that are rounded
    origin=st.sampled_from([0.0, -312.0, 67_200.0, 1e9]),
)
def test_what_follows_a_hole_stays_at_its_own_time(
    lengths: list[int], lost: set[int], jitter: float, origin: float
) -> None:
    starts = np.cumsum([0, *lengths])
    pieces = [(int(start), length) for start, length in zip(starts[:-1], lengths, strict=True)]
    lost = {number for number in lost if number < len(pieces) - 1}
    kept = [piece for number, piece in enumerate(pieces) if number not in lost]
    found, notes = place(kept, int(starts[-1]), jitter, origin)
    slack = 0 if jitter == 0 else 50
    told = bool(notes)
    missing = sum(lengths[number] for number in lost)
    if not lost:
        assert notes == [] and np.array_equal(found, np.arange(1, starts[-1] + 1))
    elif not told:  # shorter than what timestamps tell, or than half of a piece beside it
        shortest = max(max(lengths) / 2, LEAST_JUMP_SECONDS * RATE + 2 * jitter)
        assert all(lengths[number] <= shortest for number in lost)
    elif min(lengths) == max(lengths):
        assert abs(len(found) - starts[-1]) <= slack
        sounding = np.flatnonzero(found)
        assert np.abs(found[sounding] - 1 - sounding).max() <= slack
        assert abs(len(found) - len(sounding) - missing) <= slack
        seconds = re.search(r"([\d.]+) s", notes[0])
        assert seconds is not None
        assert jitter or float(seconds.group(1)) == pytest.approx(missing / RATE, abs=0.06)


def test_a_lone_wrong_timestamp_moves_nothing() -> None:
    timeline = Timeline(header(), 10_000)
    stamps = [0, 1_000, 3_000, 3_000, 4_000]  # the third should be 2 000
    blocks = [
        block
        for number, stamp in enumerate(stamps)
        for block in timeline.place(np.full((1_000, 1), number, np.float32), stamp)
    ]
    assert np.array_equal(np.concatenate(blocks)[::1_000, 0], range(5))
    assert timeline.notes() == []


def test_what_comes_twice_is_left_out() -> None:
    found, notes = place(
        [(start, 1_000) for start in (0, 1_000, 2_000, 1_000, 2_000, 3_000)], 10_000
    )
    assert np.array_equal(found, np.arange(1, 4_001))
    assert len(notes) == 1 and notes[0].startswith("what comes twice was left out")


def test_timestamps_that_begin_anew_are_another_file() -> None:
    song = [(start, 1_000) for start in range(0, 100_000, 1_000)]
    found, notes = place([*song, *song], 10 * RATE)
    assert np.array_equal(found, np.tile(np.arange(1, 100_001), 2))
    assert len(notes) == 1 and "begin anew after 2.083 s" in notes[0]


def test_a_jump_beyond_the_end_is_no_hole() -> None:
    found, notes = place([(0, 1_000), (5_000_000, 1_000), (5_001_000, 1_000)], 10_000)
    assert len(found) == 3_000 and "begin anew" in notes[0]


@pytest.mark.parametrize(
    ("frames", "exact", "held", "told"),
    [
        (None, False, 100, ""),
        (100_000, True, 100_000, ""),
        (100_000, True, 99_999, "truncated: its header announces 100000 frames, it holds 99999"),
        (100_000, True, 100_001, "it holds 100001, all of which was read"),
        (100_000, False, 96_000, ""),
        (100_000, False, 90_000, "it may be cut: its header announces 2.08 s, it holds 1.88 s"),
        (100_000, False, 200_000, "announces 2.08 s, it holds 4.17 s, all of which was read"),
    ],
)
def test_header_and_content(frames: int | None, exact: bool, held: int, told: str) -> None:
    notes = check_length(header(frames, exact=exact), held)
    assert told in "".join(notes) and bool(told) == bool(notes)


def test_nothing_is_no_song() -> None:
    with pytest.raises(HtmdsepError, match="holds no audio"):
        check_length(header(), 0)
